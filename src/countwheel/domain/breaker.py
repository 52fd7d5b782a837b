"""When a target is left alone because its calls fail, and how it is tried again. Pure: time and chance come in.

Closed, a breaker is nothing. It opens for a while when most of the last calls failed; then it is half open: one probe
at a time is let through. A few that succeed in a row close it; one that fails opens it again, for longer.
"""

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus

from countwheel.domain.attempt import AttemptResult, Failure, FailureKind

WINDOW_SECONDS = 30
"""Outcomes older than this say nothing about now. It is a call's time-out by default: hung calls are in it, too."""
LEAST_OUTCOMES = 20
"""Fewer say nothing about a share: a target that is called once a minute is left to the retries of its runs."""
FAILED_SHARE = 0.5
"""Below that, more calls arrive than are lost: stopping it would cost more than it spares."""

FIRST_OPEN_SECONDS = 5.0
LONGEST_OPEN_SECONDS = 300.0
"""From a restart's length, doubling, up to what a person who has mended a target is willing to wait."""
PROBES_TO_CLOSE = 3
"""One success may be luck where half of the calls fail; three in a row are that one time in eight."""
PROBE_PATIENCE = timedelta(seconds=30)
"""A probe without an outcome by then (it hangs, or its node died) does not keep the next one back."""
FORGOTTEN_AFTER = timedelta(seconds=600)
"""Closed for so long, the next opening is a first one again."""

_OURS = frozenset({FailureKind.BLOCKED, FailureKind.ABORTED, FailureKind.LOST, FailureKind.NOT_READY})
"""Failures that say nothing about the target."""


_TOO_MUCH = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Sign(Enum):
    """What one outcome says about its target."""

    WELL = auto()
    FAILED = auto()
    TOO_MUCH = auto()
    """It is there, and asks for fewer calls (429, 503)."""
    NOTHING = auto()


def sign_of(result: AttemptResult) -> Sign:
    """Return what an outcome says about its target. Other 4xx speak of the call, and the target was well enough."""
    if isinstance(result, Failure):
        return Sign.NOTHING if result.kind in _OURS else Sign.FAILED
    if result.status in _TOO_MUCH:
        return Sign.TOO_MUCH
    return Sign.FAILED if result.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Sign.WELL


class Phase(Enum):
    """Where a breaker stands."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker as it is stored. Without `open_until` it is closed."""

    opened_at: datetime | None = None
    open_until: datetime | None = None
    openings: int = 0
    """In a row."""
    probes: int = 0
    """That have succeeded in a row."""
    probed_at: datetime | None = None
    """Since when a probe is under way."""
    reason: str | None = None

    def phase(self, now: datetime) -> Phase:
        """Return where it stands."""
        if self.open_until is None:
            return Phase.CLOSED
        return Phase.OPEN if now < self.open_until else Phase.HALF_OPEN

    def may_probe(self, now: datetime) -> bool:
        """Whether a probe may leave: it is half open, and none is under way."""
        return self.phase(now) is Phase.HALF_OPEN and (self.probed_at is None or now - self.probed_at >= PROBE_PATIENCE)

    def is_forgotten(self, now: datetime) -> bool:
        """Whether it is as if it had never been open. (`opened_at` of a closed one is when it was last open.)"""
        return self.open_until is None and (self.opened_at is None or now - self.opened_at > FORGOTTEN_AFTER)


CLOSED = Breaker()
"""One that has never been open."""


def opened(breaker: Breaker, now: datetime, *, reason: str, jitter: float) -> Breaker:
    """Return a closed breaker opened; one that is open, or half open, stays as it is.

    `jitter` from 0 to 1 makes the time up to a quarter longer, so that targets which failed together are not probed
    together.
    """
    if breaker.phase(now) is not Phase.CLOSED:
        return breaker
    before = CLOSED if breaker.is_forgotten(now) else breaker
    return _open(before, now, reason=reason, jitter=jitter)


def probing(breaker: Breaker, now: datetime) -> Breaker:
    """Return a half-open breaker whose probe leaves."""
    return replace(breaker, probed_at=now)


def probed(breaker: Breaker, now: datetime, *, well: bool, reason: str, jitter: float) -> Breaker:
    """Return what the outcome of a probe makes of a breaker."""
    if breaker.phase(now) is not Phase.HALF_OPEN:
        return breaker  # the outcome comes late, and others have decided meanwhile
    if not well:
        return _open(breaker, now, reason=reason, jitter=jitter)
    if breaker.probes + 1 < PROBES_TO_CLOSE:
        return replace(breaker, probes=breaker.probes + 1, probed_at=None)
    return Breaker(opened_at=now, openings=breaker.openings)


def _open(breaker: Breaker, now: datetime, *, reason: str, jitter: float) -> Breaker:
    doublings = min(breaker.openings, 10)  # 5 s doubled ten times is past the longest; keeps the number small
    seconds = min(FIRST_OPEN_SECONDS * 2**doublings, LONGEST_OPEN_SECONDS) * (1 + jitter / 4)
    return Breaker(
        opened_at=breaker.opened_at if breaker.open_until is not None else now,
        open_until=now + timedelta(seconds=seconds),
        openings=min(breaker.openings + 1, 100),
        reason=reason,
    )


class Window:
    """The outcomes of the last seconds, counted by the second."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()

    def add(self, second: int, *, failed: bool) -> None:
        """Count an outcome. `second` is a whole number that never falls."""
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
            self._forget(second)
        latest = self._seconds[-1]
        latest[1] += 1
        latest[2] += failed

    def why_open(self, second: int) -> str | None:
        """Return why the breaker is to open, or None."""
        self._forget(second)
        total = sum(entry[1] for entry in self._seconds)
        failures = sum(entry[2] for entry in self._seconds)
        if total < LEAST_OUTCOMES or failures < total * FAILED_SHARE:
            return None
        return f"{failures} of the last {total} calls failed"

    def rate_per_second(self, second: int, over_seconds: int) -> float:
        """Return how many outcomes a second there were in the last `over_seconds` whole ones and the one under way."""
        recent = [entry[1] for entry in self._seconds if entry[0] >= second - over_seconds]
        return sum(recent) / (over_seconds + 1)

    def is_empty(self, second: int) -> bool:
        """Whether nothing is left in it."""
        self._forget(second)
        return not self._seconds

    def clear(self) -> None:
        """Begin anew."""
        self._seconds.clear()

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_SECONDS:
            self._seconds.popleft()
