"""Which occurrences must have been taken up, and which may have been.

A job is a sequence of definitions. Each is certainly in force from the answer to the operation that made it until the
next such operation is invoked; it may be in force from the moment its operation was invoked, until the next one is
answered, or for ever where no answer came. What falls inside a certain span must be on record. What falls inside a
possible one may be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from checker import cron
from checker.history import History, Operation, Schedule

_FOREVER = float("inf")
_SLACK = 0.3


@dataclass(slots=True)
class Span:
    """A definition, and when it was in force: possibly, and certainly (None: never certainly)."""

    schedule: Schedule
    possible_from: float
    certain_from: float | None
    certain_until: float = _FOREVER
    possible_until: float = _FOREVER


@dataclass(slots=True)
class Expectation:
    """What is expected of one job."""

    label: str
    hold: bool = False
    overlap: str = ""
    must: dict[int, float] = field(default_factory=dict)
    """Instant to the moment from which it could be called: the instant itself, or the answer that came after it."""
    may: set[int] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """When the job was possibly paused."""
    quiet: list[tuple[float, float]] = field(default_factory=list)
    """When it certainly was: from the answer to a pause to the moment when the next resume was asked for."""


def expect(history: History) -> dict[str, Expectation]:
    """Return what is expected of each job, by label."""
    by_label: dict[str, list[Operation]] = {}
    for operation in history.operations:
        by_label.setdefault(operation.label, []).append(operation)
    return {label: _expect(label, operations, history) for label, operations in by_label.items()}


def _expect(label: str, operations: list[Operation], history: History) -> Expectation:
    found = Expectation(label, hold=any(operation.hold for operation in operations))
    operations = sorted(operations, key=lambda operation: operation.invoked_at)
    found.spans = list(_spans(operations, history.limits.look_ahead + _SLACK))
    found.overlap = next((operation.overlap for operation in operations if operation.kind == "create"), "")
    found.pauses = list(_pauses(operations))
    found.quiet = list(_quiet(operations))
    margin = history.limits.look_ahead + _SLACK
    horizon = history.checked_at - history.limits.recovery
    for span in found.spans:
        first = span.possible_from - margin
        last = min(span.possible_until + margin, history.checked_at + margin)
        for instant in _instants(span.schedule, first, last):
            found.may.add(instant)
            if span.certain_from is None:
                continue
            moment = instant / 1000
            begun = moment > span.certain_from if span.schedule.cron is not None else True
            callable_from = max(moment, span.certain_from)
            if begun and moment <= span.certain_until and callable_from <= horizon:
                resumed = max(
                    (end for began, end in found.pauses if began - margin <= moment <= end + margin), default=0.0
                )
                if resumed + margin <= horizon or resumed == _FOREVER:
                    # What is resumed from the pause is called after it, and what was shelved is claimed again.
                    found.must[instant] = max(callable_from, resumed + margin if resumed else 0.0)
    return found


def _spans(operations: list[Operation], margin: float) -> Iterator[Span]:
    current: list[Span] = []
    for operation in operations:
        if operation.kind not in {"create", "amend", "delete"} or operation.outcome == "fail":
            continue
        answered = operation.answered_at
        for span in current:
            span.certain_until = min(span.certain_until, operation.invoked_at)
            if answered is not None:
                span.possible_until = min(span.possible_until, answered)
        if answered is not None:
            yield from current
            current = []
        if operation.kind == "delete" or operation.schedule is None:
            continue
        # An edit begins after what was claimed ahead of it; a create with its first run.
        certain = None if answered is None else answered + (margin if operation.kind == "amend" else 0.0)
        current.append(Span(operation.schedule, operation.invoked_at, certain))
    yield from current


def _pauses(operations: list[Operation]) -> Iterator[tuple[float, float]]:
    began: float | None = None
    for operation in operations:
        if operation.outcome == "fail":
            continue
        if operation.kind == "pause":
            began = operation.invoked_at if began is None else began
        elif operation.kind == "resume" and began is not None and operation.answered_at is not None:
            yield began, operation.answered_at
            began = None
    if began is not None:
        yield began, _FOREVER


def _quiet(operations: list[Operation]) -> Iterator[tuple[float, float]]:
    paused_at: float | None = None
    for operation in operations:
        if operation.kind in {"pause", "resume"} and operation.outcome != "fail":
            if operation.kind == "resume" and paused_at is not None:
                yield paused_at, operation.invoked_at
            paused_at = operation.answered_at if operation.kind == "pause" else None
    if paused_at is not None:
        yield paused_at, _FOREVER


def names(schedule: Schedule, instant: int) -> bool:
    """Whether a schedule names an instant."""
    if schedule.cron is None:
        return schedule.at_ms == instant
    return instant in cron.instants(schedule.cron, instant - 1, instant)


def _instants(schedule: Schedule, first: float, last: float) -> Iterator[int]:
    if schedule.at_ms is not None:
        yield schedule.at_ms
    elif schedule.cron is not None:
        yield from cron.instants(schedule.cron, int(first * 1000), int(last * 1000))
