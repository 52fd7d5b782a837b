"""What the sink wrote down: a record a call, of one size, read when nothing is measured any more."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.measured import Faults, percentile

RECORD = struct.Struct("<d40s32sc")
"""When it came (seconds since 1970), `webhook-id`, `countwheel-scheduled-for`, the first letter of its path."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A call that came. Times in seconds since 1970; `flow` is the first letter of its path."""

    at: float
    id: bytes
    scheduled_for: float
    flow: str

    @property
    def lateness_ms(self) -> float:
        """How long after its time it came."""
        return (self.at - self.scheduled_for) * 1000


@dataclass(frozen=True, slots=True)
class Tally:
    """What has come, counted."""

    received: int
    faults: Faults
    first_at: float
    last_at: float
    late_ms: list[float]
    """Sorted."""

    def lateness(self) -> dict[str, float]:
        """Return the figures of lateness."""
        return {
            "p50_ms": percentile(self.late_ms, 0.5),
            "p99_ms": percentile(self.late_ms, 0.99),
            "max_ms": self.late_ms[-1] if self.late_ms else 0.0,
        }


def read(file: Path, since: int = 0) -> Iterator[Receipt]:
    """Yield what came after the first `since` calls."""
    with file.open("rb") as stream:
        stream.seek(since * RECORD.size)
        while block := stream.read(RECORD.size * 10_000):
            for at, id_, scheduled_for, flow in RECORD.iter_unpack(block):
                yield Receipt(at, id_, _instant(scheduled_for), flow.decode("ascii", "replace"))


def count(receipts: Iterable[Receipt], expected: int) -> Tally:
    """Count what came against what should have come."""
    ids: set[bytes] = set()
    late: list[float] = []
    first_at, last_at = float("inf"), 0.0
    for receipt in receipts:
        ids.add(receipt.id)
        late.append(receipt.lateness_ms)
        first_at, last_at = min(first_at, receipt.at), max(last_at, receipt.at)
    late.sort()
    early = sum(1 for value in late if value < 0)
    faults = Faults(doubles=len(late) - len(ids), early=early, missing=expected - len(ids))
    return Tally(len(late), faults, first_at, last_at, late)


def _instant(text: bytes) -> float:
    text = text.rstrip(b"\0")
    return datetime.fromisoformat(text.decode()).timestamp() if text else 0.0
