"""The database's clock, as a node knows it between two round trips.

Database time decides what is due. A sample is a monotonic reading before and after a statement that returned the
database's clock: at the later reading the database's time was *at least* what it said. Counting from there gives a
lower bound, so that nothing is ever sent early; it lags the truth by the round trip at most. The sample with the
shortest round trip of the last seconds is used, and an older one where those since are worse: a node that was frozen
while it asked would otherwise take the time of its question for the time. What is chosen serves until more is known,
and for runs that are claimed ahead: it is the one that will be best by then.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from countwheel.clock import Clock

_WINDOW_SECONDS = 10.0
_AHEAD_SECONDS = 4.0
"""For how long a sample is chosen: until the next ones come (`renew_every_seconds`), and for what is claimed before its
time. One that is best now may be out of the window before that: then all calls were later and later, by a millisecond
in the end."""
_STEP_TOLERANCE_SECONDS = 0.002
_DRIFT = 0.0005
"""By how much a monotonic clock may be fast against the database's (what NTP slews by): counted beyond the window."""


class _Sample(NamedTuple):
    asked_at: float
    answered_at: float
    database_time: datetime

    def lower_bound(self, monotonic: float) -> datetime:
        elapsed = monotonic - self.answered_at
        if elapsed > _WINDOW_SECONDS:
            elapsed -= _DRIFT * (elapsed - _WINDOW_SECONDS)
        return self.database_time + timedelta(0, elapsed)

    def reaches(self, instant: datetime) -> float:
        """Return the monotonic moment at which the lower bound is `instant`."""
        elapsed = (instant - self.database_time).total_seconds()
        if elapsed > _WINDOW_SECONDS:
            elapsed = (elapsed - _DRIFT * _WINDOW_SECONDS) / (1 - _DRIFT)
        return self.answered_at + elapsed

    def upper_bound(self, monotonic: float) -> datetime:
        return self.database_time + timedelta(seconds=monotonic - self.asked_at)


class UnknownDatabaseTimeError(Exception):
    """The database's time has not been measured yet."""


class DatabaseTime:
    """A lower bound of the database's clock at any monotonic moment."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=256)
        self._best: _Sample | None = None

    def observe(self, *, asked_at: float, database_time: datetime, answered_at: float) -> None:
        """Take a measurement: monotonic seconds before and after, and what the database's clock said in between."""
        sample = _Sample(asked_at, answered_at, database_time)
        if self._best is not None and _contradicts(sample, self._best):
            # The database's clock was set back: what was measured before says nothing now.
            self._samples.clear()
            self._best = None
        self._samples.append(sample)
        while self._samples[0].answered_at < answered_at - _WINDOW_SECONDS:
            self._samples.popleft()
        # Of all that is known the highest lower bound is the nearest to the truth.
        known = [*self._samples, self._best or sample]
        self._best = max(known, key=lambda sample: sample.lower_bound(answered_at + _AHEAD_SECONDS))

    def at(self, monotonic: float) -> datetime:
        """Return the database's time at a monotonic moment: never later than the truth.

        Raises `UnknownDatabaseTimeError` before the first measurement.
        """
        return (self._best or _unmeasured()).lower_bound(monotonic)

    def monotonic_of(self, instant: datetime) -> float:
        """Return the monotonic moment at which the database's time is certain to have reached `instant`."""
        return (self._best or _unmeasured()).reaches(instant)


def _unmeasured() -> NoReturn:
    raise UnknownDatabaseTimeError("the database's time has not been measured yet")


def _contradicts(sample: _Sample, best: _Sample) -> bool:
    slack = timedelta(seconds=_STEP_TOLERANCE_SECONDS)
    return sample.upper_bound(sample.answered_at) + slack < best.lower_bound(sample.answered_at)


class DatabaseClock:
    """The database's clock as a `Clock`: what all nodes agree on, whatever the clock of the machine says."""

    def __init__(self, database_time: DatabaseTime, clock: Clock) -> None:
        """`clock` lends its monotonic time and its sleep; its wall clock is not read."""
        self._database_time = database_time
        self._clock = clock

    def now(self) -> datetime:
        """Return the database's time, in UTC. Raises `UnknownDatabaseTimeError` before the first measurement."""
        return self._database_time.at(self._clock.monotonic())

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds`."""
        await self._clock.sleep(seconds)
