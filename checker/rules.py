"""The promises, one function each. Every function yields what breaks its promise."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from checker.evidence import Evidence, Violation
from checker.expectation import names
from checker.history import Completion, Fault, Receipt, Row

_TOLERANCE = 0.05
"""Seconds between two processes' readings of one clock, and between a socket's buffer and its reader."""
_ABRUPT = frozenset({"kill -9", "SIGSTOP", "database restart", "database crash", "connections cut", "commits cut"})
"""Faults that can come between a call and its record. A clock that is stepped, or a node that is asked to stop, must
never cause a repeat, nor a delay."""
_DELAYING = _ABRUPT | {"stall", "target restricted"}
"""Faults that can delay a call. A stall is the machine's own: it gave nobody any time. A target that is paused, or
limited, makes its runs wait, and is no excuse for anything else."""
_ORDERLY_SECONDS = 0.25
"""What an orderly stop may cost others in lateness: a process that starts in its place takes time from the machine."""
_NEVER = float("inf")
_WAITING = frozenset({"queue_one", "queue_all", "cancel_running"})
"""Overlap policies by which a run may wait for another to end, and be late for it."""
_GRACE = 60.0
"""An occurrence that is later than this counts as missed (the documented policy)."""


def no_loss(evidence: Evidence) -> Iterator[Violation]:
    """Every occurrence that certainly was is on record, with an end that its policy allows."""
    alive = {(live.label, live.scheduled_ms) for live in evidence.history.live}
    paused = {job.label for job in evidence.history.jobs if job.state == "PAUSED"}
    # The shelved run of a paused job stands for everything from its own instant on.
    shelved = {live.label: live.scheduled_ms for live in evidence.history.live if live.shelved and live.label in paused}
    for label, expected in evidence.expected.items():
        own = {row.scheduled_ms: row for row in evidence.rows[label]}
        ranges = [row for row in evidence.rows[label] if row.superseded_ms is not None]
        for instant in expected.must:
            row = own.get(instant) or next((r for r in ranges if _covers(r, instant)), None)
            if row is not None:
                if (fault := _unjustified(evidence, row)) is not None:
                    yield Violation("no loss", f"{_name(row)} ended {row.status} ({row.error}): {fault}")
            elif (label, instant) not in alive and instant < shelved.get(label, instant + 1):
                yield Violation("no loss", f"{label} at {instant}: neither on record nor alive")


def no_double(evidence: Evidence) -> Iterator[Violation]:
    """Each receipt after a run's first has a cause: a recorded result that asks for a retry, or a fault."""
    for run_id, receipts in evidence.receipts.items():
        for earlier, later in pairwise(receipts):
            if cause_of_repeat(evidence, earlier, later) is None:
                yield Violation(
                    "no double",
                    f"{later.label} run {run_id}: fence {earlier.fence} at {earlier.received_at:.3f} and again fence "
                    f"{later.fence} at {later.received_at:.3f}, without a cause",
                )


def never_twice(evidence: Evidence) -> Iterator[Violation]:
    """A run of a job that holds the unknown is sent again only if its attempt was answered, or reported as failed."""
    for run_id, receipts in evidence.receipts.items():
        expected = evidence.expected.get(receipts[0].label)
        if expected is None or not expected.hold:
            continue
        for earlier, later in pairwise(receipts):
            said = any(word.fence == earlier.fence for word in evidence.completions.get(run_id, []))
            if earlier.answer == "none" or (earlier.taken_over and not said):
                yield Violation(
                    "never twice",
                    f"{later.label} run {run_id}: sent again at {later.received_at:.3f}, its outcome unknown",
                )


def cause_of_repeat(evidence: Evidence, earlier: Receipt, later: Receipt) -> str | None:
    """Return why a run was received again, or None."""
    attempt = evidence.attempts.get((earlier.run_id, earlier.fence))
    faults = abrupt(evidence.faults_between(earlier.received_at - 0.5, later.received_at))
    if attempt is None or later.fence <= earlier.fence:
        return None
    if attempt.error.startswith("lost: the node stopped"):  # it waits for calls as long as it was told to
        stops = evidence.faults_between(earlier.received_at, later.received_at)
        return "stopped before the answer" if any(fault.kind == "SIGTERM" for fault in stops) else None
    if attempt.error.startswith("lost"):
        return f"{faults[0].kind} before the record" if faults else None
    if earlier.accepted:  # it was taken, and the node did not get to know
        return f"{faults[0].kind} before the answer" if faults else None
    return f"retry after {attempt.error.split(':')[0][:12]}"


def abrupt(faults: list[Fault]) -> list[Fault]:
    """Return those faults that can come between a call and its record."""
    return [fault for fault in faults if fault.kind in _ABRUPT]


def fences_rise(evidence: Evidence) -> Iterator[Violation]:
    """Who had lost the right to a run has not sent it: fences rise from receipt to receipt, and up to the record."""
    for run_id, receipts in evidence.receipts.items():
        for earlier, later in pairwise(receipts):
            if later.fence <= earlier.fence:
                yield Violation("fences rise", f"{later.label} run {run_id}: fence {later.fence} after {earlier.fence}")
        row = evidence.row_of(run_id, receipts[0].label)
        if row is not None and row.fence < receipts[-1].fence:
            yield Violation("fences rise", f"{_name(row)}: recorded at fence {row.fence}, sent at {receipts[-1].fence}")


def no_phantom(evidence: Evidence) -> Iterator[Violation]:
    """Nothing is called or recorded that no schedule in force has named."""
    for receipts in evidence.receipts.values():
        for receipt in receipts:
            if receipt.trigger != "schedule":
                continue
            expected = evidence.expected.get(receipt.label)
            if expected is None or receipt.scheduled_ms not in expected.may:
                yield Violation(
                    "no phantom", f"{receipt.label} at {receipt.scheduled_ms}: called, and nobody asked for it"
                )
    for label, rows in evidence.rows.items():
        for row in rows:
            expected = evidence.expected.get(label)
            # What was armed and then cancelled is on record before its time: its schedule must name it, no more.
            known = expected is not None and (
                row.scheduled_ms in expected.may
                or (row.status == "CANCELED" and any(names(span.schedule, row.scheduled_ms) for span in expected.spans))
            )
            if not known:
                yield Violation("no phantom", f"{_name(row)}: recorded, unasked for")


def wanted_runs(evidence: Evidence) -> Iterator[Violation]:
    """What somebody wanted run is on record or alive, and nobody's wish comes true twice."""
    alive = {live.run_id for live in evidence.history.live}
    seen: dict[str, set[str]] = defaultdict(set)
    for run_id, receipts in evidence.receipts.items():
        if receipts[0].trigger != "schedule":
            seen[receipts[0].label].add(run_id)
    for label, operations in evidence.operations.items():
        wishes = [operation for operation in operations if operation.kind == "run"]
        seen[label] |= {row.run_id for row in evidence.wanted[label]}
        recorded = {row.run_id for row in evidence.wanted[label]}
        for wish in wishes:
            if wish.outcome == "ok" and wish.answer not in recorded | alive:
                yield Violation("wanted runs", f"{label} run {wish.answer}: neither on record nor alive")
        for row in evidence.wanted[label]:
            if (fault := _unjustified(evidence, row)) is not None:
                yield Violation("wanted runs", f"{_name(row)} ended {row.status} ({row.error}): {fault}")
        if len(seen[label]) > len(wishes):
            yield Violation("wanted runs", f"{label}: {len(seen[label])} runs by hand, {len(wishes)} were wanted")


def quiet_while_paused(evidence: Evidence) -> Iterator[Violation]:
    """Between the answer to a pause and the next resume no run begins but what was claimed ahead of the pause."""
    limits = evidence.history.limits
    for label, expected in evidence.expected.items():
        for receipt in evidence.arrivals[label]:
            if receipt.attempt > 1 or evidence.faults_between(
                receipt.received_at - limits.recovery, receipt.received_at
            ):
                continue
            for began, ended in expected.quiet:
                if began + limits.look_ahead + limits.punctual < receipt.received_at < ended:
                    late_ms = (receipt.received_at - began) * 1000
                    yield Violation(
                        "quiet while paused", f"{label} at {receipt.scheduled_ms}: {late_ms:.0f} ms after the pause"
                    )


def never_early(evidence: Evidence) -> Iterator[Violation]:
    """No call arrives before its instant."""
    for receipt in evidence.history.receipts:
        if receipt.received_at < receipt.scheduled_ms / 1000:
            early_ms = receipt.scheduled_ms - receipt.received_at * 1000
            yield Violation("never early", f"{receipt.label} at {receipt.scheduled_ms}: {early_ms:.3f} ms early")


def timely(evidence: Evidence) -> Iterator[Violation]:
    """Punctual where no fault was near, and within lease, detection and drain after one."""
    limits = evidence.history.limits
    for receipt, base in first_receipts(evidence):
        faults = faults_near(evidence, receipt, base)
        excuses = [fault.ended - base + limits.recovery for fault in faults if fault.kind in _DELAYING]
        orderly = [_ORDERLY_SECONDS for fault in faults if fault.kind == "SIGTERM"]
        lateness = receipt.received_at - base
        if lateness > max([limits.punctual, *excuses, *orderly]):
            yield Violation(
                "timely",
                f"{receipt.label} at {receipt.scheduled_ms}: {lateness * 1000:.1f} ms late, {len(faults)} faults near",
            )


def first_receipts(evidence: Evidence) -> Iterator[tuple[Receipt, float]]:
    """Yield the first receipt of each run, and the moment from which it could be called.

    Left out are runs whose first attempt never left, on record (refused, say): the next one waited for its back-off.
    """
    first_failure: dict[str, int] = {}
    for (run_id, fence), attempt in evidence.attempts.items():
        if not attempt.error.startswith("lost"):
            first_failure[run_id] = min(fence, first_failure.get(run_id, fence))
    for run_id, receipts in evidence.receipts.items():
        receipt = receipts[0]
        if first_failure.get(run_id, receipt.fence) < receipt.fence:
            continue
        expected = evidence.expected.get(receipt.label)
        if receipt.trigger != "schedule" or expected is None or expected.overlap in _WAITING:
            continue
        # What was due in a pause that nobody is known to have ended may come at any time.
        if expected.must.get(receipt.scheduled_ms, _NEVER) < _NEVER:
            yield receipt, expected.must[receipt.scheduled_ms]


def faults_near(evidence: Evidence, receipt: Receipt, base: float) -> list[Fault]:
    """Return the faults that can have delayed a receipt."""
    limits = evidence.history.limits
    near = evidence.faults_between(base - limits.look_ahead, receipt.received_at, after=limits.recovery)
    return [fault for fault in near if fault.kind in _DELAYING or fault.kind == "SIGTERM"]


def record_truth(evidence: Evidence) -> Iterator[Violation]:
    """SUCCEEDED exactly where a 2xx was given to that attempt; one end an occurrence; nothing begun before its time."""
    for label in {*evidence.rows, *evidence.wanted}:
        rows = evidence.all_rows(label)
        ends = Counter(row.run_id for row in rows if row.resolution != "RETRIED")
        for run_id, count in ends.items():
            if count > 1:
                yield Violation("record truth", f"{label} run {run_id}: {count} ends on record")
        by_instant = Counter(row.scheduled_ms for row in evidence.rows[label] if row.resolution != "RETRIED")
        for instant, count in by_instant.items():
            if count > 1:
                yield Violation("record truth", f"{label} at {instant}: {count} ends on record")
        for row in rows:
            yield from _truth_of(evidence, row)


def _truth_of(evidence: Evidence, row: Row) -> Iterator[Violation]:
    receipts = evidence.receipts.get(row.run_id, [])
    if row.started_at is not None and row.started_at < row.scheduled_ms / 1000:
        yield Violation("record truth", f"{_name(row)}: begun before its time")
    # What was sent after it was taken back has an end of its own.
    accepted = [receipt for receipt in receipts if receipt.accepted and receipt.fence <= row.fence]
    if row.status == "SUCCEEDED":
        given = [receipt.answered_at for receipt in accepted if receipt.fence == row.fence]
        given += [said.invoked_at for said in evidence.completions.get(row.run_id, []) if said.said == "SUCCEEDED"]
        if not any(at is not None and at <= row.finished_at + _TOLERANCE for at in given):
            yield Violation("record truth", f"{_name(row)}: SUCCEEDED at fence {row.fence} and nobody said so")
    elif accepted and not _explained(evidence, row, accepted[0]):
        yield Violation("record truth", f"{_name(row)}: {row.status}, though the target took it")


def _explained(evidence: Evidence, row: Row, accepted: Receipt) -> bool:
    """Whether a fault or a cancel kept an accepted call from being recorded as one."""
    if abrupt(evidence.faults_between(accepted.received_at - 0.5, row.finished_at)):
        return True
    return row.status == "CANCELED" and (_was_cancelled(evidence, row) or _was_replaced(evidence, row))


def completion_is_final(evidence: Evidence) -> Iterator[Violation]:
    """A completion that was acknowledged is on record, and what it ended is not sent again, but for a redrive."""
    for run_id, completions in evidence.completions.items():
        for said in completions:
            if said.answer != "ok" or said.answered_at is None or said.said not in {"SUCCEEDED", "FAILED"}:
                continue
            ends = [row for row in evidence.all_rows(said.label) if row.run_id == run_id]
            its_own = [row for row in ends if said.said in {row.status, row.resolution}]
            if not its_own:
                found = sorted(row.resolution or row.status for row in ends)
                yield Violation(
                    "completion is final", f"{said.label} run {run_id}: {said.said} acknowledged, and {found}"
                )
            elif all(row.resolution != "RETRIED" for row in its_own):
                yield from _sent_after(evidence, said)


def _sent_after(evidence: Evidence, said: Completion) -> Iterator[Violation]:
    for receipt in evidence.receipts.get(said.run_id, []):
        # A call that was under way as the word came may have been in the network for so long.
        if said.answered_at is not None and receipt.received_at > said.answered_at + _TOLERANCE:
            late_ms = (receipt.received_at - said.answered_at) * 1000
            yield Violation(
                "completion is final", f"{said.label} run {said.run_id}: sent {late_ms:.0f} ms after its completion"
            )


def idempotent_create(evidence: Evidence) -> Iterator[Violation]:
    """One job a submission, however often it was repeated; and one wherever it was acknowledged."""
    count = Counter(job.label for job in evidence.history.jobs)
    created = {operation.label: operation for operation in evidence.history.operations if operation.kind == "create"}
    for label, operation in created.items():
        if count[label] > 1 or (operation.outcome == "ok" and count[label] != 1):
            yield Violation("idempotent create", f"{label}: {count[label]} jobs, its create was {operation.outcome}")


def cancel_is_final(evidence: Evidence) -> Iterator[Violation]:
    """After the answer CANCELED, or that the job is deleted, nothing more arrives."""
    for operation in evidence.history.operations:
        if operation.outcome != "ok" or operation.answered_at is None:
            continue
        after = operation.answered_at + _TOLERANCE
        for receipt in evidence.arrivals[operation.label]:
            if receipt.received_at <= after:
                continue
            is_meant = operation.kind == "cancel" and (operation.run_ms, operation.answer) == (
                receipt.scheduled_ms, "CANCELED",
            )  # fmt: skip
            if operation.kind == "delete" or is_meant:
                yield Violation("cancel is final", f"{receipt.label} at {receipt.scheduled_ms}: after {operation.kind}")


def liveness(evidence: Evidence) -> Iterator[Violation]:
    """After the last fault everything that was due has ended, and every active recurring job goes on."""
    history = evidence.history
    active = {job.label for job in history.jobs if job.state == "ACTIVE"}
    overdue_before = history.checked_at - history.limits.recovery
    for live in history.live:
        if live.shelved and live.label in active:
            yield Violation("liveness", f"{live.label} at {live.scheduled_ms}: shelved, and its job is active")
        if live.due_at < overdue_before and live.state != "RUNNING":
            yield Violation("liveness", f"{live.label} at {live.scheduled_ms}: due and still {live.state}")
    armed = {live.label for live in history.live if live.trigger == "schedule"}
    for job in history.jobs:
        if job.state == "ACTIVE" and job.recurring and job.label not in armed:
            yield Violation("liveness", f"{job.label}: active, recurring, and without a live run")


RULES: dict[str, Callable[[Evidence], Iterator[Violation]]] = {
    "no loss": no_loss,
    "no double": no_double,
    "never twice": never_twice,
    "fences rise": fences_rise,
    "no phantom": no_phantom,
    "wanted runs": wanted_runs,
    "quiet while paused": quiet_while_paused,
    "never early": never_early,
    "timely": timely,
    "record truth": record_truth,
    "completion is final": completion_is_final,
    "idempotent create": idempotent_create,
    "cancel is final": cancel_is_final,
    "liveness": liveness,
}


def _covers(row: Row, instant: int) -> bool:
    return row.superseded_ms is not None and row.scheduled_ms <= instant < row.superseded_ms


def _unjustified(evidence: Evidence, row: Row) -> str | None:
    """Return why a run may not have ended as it did, or None. What was sent after a redrive has an end of its own."""
    receipts = [receipt for receipt in evidence.receipts.get(row.run_id, []) if receipt.fence <= row.fence]
    match row.status:
        case "SUCCEEDED":
            return None  # record truth looks at it
        case "FAILED":
            return None if receipts and not receipts[-1].accepted else "without a failed call"
        case "CANCELED":
            known = _was_cancelled(evidence, row) or _was_replaced(evidence, row)
            return None if known else "nobody cancelled it"
        case "UNKNOWN":
            return None if evidence.expected[row.label].hold else "its job does not hold the unknown"
        case "SKIPPED" if row.error.startswith("overlap"):
            return None if _overlapped(evidence, row) else "no earlier run was alive"
        case "SKIPPED" if row.error.startswith("paused"):
            paused = evidence.expected[row.label].pauses
            known = any(began <= row.finished_at + _TOLERANCE for began, _ in paused)
            return None if known else "its job was not paused"
        case "SKIPPED" if row.error.startswith("changed"):
            amended = [op for op in evidence.operations[row.label] if op.kind == "amend"]
            known = any(op.invoked_at <= row.finished_at + _TOLERANCE for op in amended)
            return None if known else "its job was not changed"
        case "SKIPPED" if row.error.startswith("missed"):
            return None if row.finished_at - row.scheduled_ms / 1000 > _GRACE else "it was not missed"
        case _:
            return "its policy does not allow that"


def _was_cancelled(evidence: Evidence, row: Row) -> bool:
    return any(
        operation.invoked_at <= row.finished_at + _TOLERANCE
        and (operation.kind == "delete" or (operation.kind == "cancel" and operation.run_ms == row.scheduled_ms))
        for operation in evidence.operations[row.label]
    )


def _was_replaced(evidence: Evidence, row: Row) -> bool:
    """Whether a later run of the job took its place, as its policy has it."""
    expected = evidence.expected.get(row.label)
    return expected is not None and expected.overlap == "cancel_running" and row.error.startswith("replaced")


def _overlapped(evidence: Evidence, row: Row) -> bool:
    """Whether an earlier run of the job had not ended, or its end could not be recorded, when this one was skipped."""
    # One that somebody wanted may be of the very millisecond of an occurrence: then their ids decide which is earlier.
    earlier = [
        other
        for other in evidence.all_rows(row.label)
        if (other.scheduled_ms, other.run_id) < (row.scheduled_ms, row.run_id)
    ]
    # A pool whose connections a fault has broken pauses for about a second before it makes new ones: an end that falls
    # into that is on record later.
    pause = evidence.history.limits.detection
    ended_later = any(
        other.finished_at + _stalled_seconds(evidence, other, row) >= row.finished_at - _TOLERANCE
        or abrupt(evidence.faults_between(other.finished_at - pause, row.finished_at))
        for other in earlier
    )
    return ended_later or any(
        live.label == row.label and live.scheduled_ms < row.scheduled_ms for live in evidence.history.live
    )


def _stalled_seconds(evidence: Evidence, earlier: Row, later: Row) -> float:
    """Return for how long the machine gave nobody any time between two ends: so much later is the first on record."""
    faults = evidence.faults_between(earlier.finished_at - _TOLERANCE, later.finished_at)
    return sum(fault.ended - fault.began for fault in faults if fault.kind == "stall")


def _name(row: Row) -> str:
    return f"{row.label} at {row.scheduled_ms}"
