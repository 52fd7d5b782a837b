"""The same question without ids: matched by the client's label and the time of arrival alone.

Two occurrences that share an id, or a call under another run's id, would look right to whoever matches by id. Here
every arrival must be that of an occurrence which had come by then, and every occurrence that was called takes one.
"""

from collections import Counter
from collections.abc import Iterator

from checker.evidence import Evidence, Violation


def blind_match(evidence: Evidence) -> Iterator[Violation]:
    """Yield each label whose arrivals and occurrences do not go together."""
    arrivals = {
        label: [receipt.received_at for receipt in found if receipt.trigger == "schedule"]
        for label, found in evidence.arrivals.items()
    }
    repeats = Counter(
        receipts[0].label
        for receipts in evidence.receipts.values()
        for receipt in receipts[1:]
        if receipt.trigger == "schedule"
    )  # each of them is judged by `no_double`
    for label, expected in evidence.expected.items():
        succeeded = {row.scheduled_ms for row in evidence.rows[label] if row.status == "SUCCEEDED"}
        called = len(succeeded & expected.must.keys())
        arrived = len(arrivals.get(label, ()))
        if arrived < called:
            yield Violation("blind", f"{label}: {called} occurrences succeeded, {arrived} calls arrived")
        possible = sorted(expected.may)
        yield from _too_many(label, arrivals.get(label, []), possible, repeats[label])


def _too_many(label: str, arrivals: list[float], possible: list[int], repeats: int) -> Iterator[Violation]:
    """Yield if at some moment more calls had arrived than occurrences had come and repeats are accounted for."""
    come = 0
    for number, arrival in enumerate(arrivals, start=1):
        while come < len(possible) and possible[come] / 1000 <= arrival:
            come += 1
        if number > come + repeats:
            yield Violation("blind", f"{label}: {number} calls by {arrival:.3f}, {come} occurrences, {repeats} repeats")
            return
