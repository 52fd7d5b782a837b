"""How fast a target is called: how many runs may go now, and at which instants. Pure: all time is the database's.

The rate is kept by the generic cell rate algorithm (ITU-T I.371) in its form of virtual scheduling: one instant a
target, `next_slot_at`, is all that nodes share. In no second are there more than rate + burst slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from countwheel.domain.breaker import CLOSED, Breaker, Phase

HORIZON = timedelta(seconds=0.25)
"""So far ahead slots are given out: at thousands a second that is a few changes of the target's row a second."""
LEAD = timedelta(seconds=0.03)
"""The first slot is so much later than the decision: the claim's commit and the way to the dispatcher take that."""
LATE = timedelta(seconds=0.05)
"""Who is later than this for a slot gives it up: what a stall has held back must not leave all at once."""

FLOOR_RATE = 1.0
"""No target is slowed down below that by itself, calls a second: it would never be seen to be well again."""
GROWTH = 1.1
"""Each second a slowed target's rate grows by a tenth: from a half to the whole in seven."""
FREE_AGAIN = 2.0
"""When the rate would be this many times what the target refused, it is no more restricted."""
LEAST_BETWEEN_SLOWINGS = timedelta(seconds=1)
"""Answers of one moment are one sign: calls that were under way together are all refused together."""
LONGEST_HOLD = timedelta(hours=1)
"""A `Retry-After` holds back a whole target up to here; the run that got it waits as long as it says (up to a day)."""
RESTART_RATE = 10.0
"""What a target that is back after an open breaker gets at first: its backlog must not knock it over again."""
RESTART_FROM = 50.0
"""It is as if it had been slowed down from this rate: 25 seconds later it is free."""


class TargetState(StrEnum):
    """How a target stands, as the API says it: the strongest of what holds it back."""

    OK = "ok"
    LIMITED = "limited"
    SLOWED = "slowed"
    OPEN = "open"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Slowed:
    """A target that asked for fewer calls: `rate` a second at the instant `at`, growing from there, none before."""

    rate: float
    refused: float
    """The rate that it refused."""
    at: datetime

    def rate_at(self, now: datetime) -> float:
        """Return calls a second. It grows in steps of a second."""
        steps = min(max(0, int((now - self.at).total_seconds())), 1_000)  # 1.1**1000 is still a float
        return float(self.rate * GROWTH**steps)

    def is_over(self, now: datetime) -> bool:
        """Whether it has recovered."""
        return now >= self.at and self.rate_at(now) >= FREE_AGAIN * max(self.refused, FLOOR_RATE)


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a target."""

    max_concurrency: int | None = None
    rate_per_second: float | None = None
    burst: int | None = None
    breaker_is_off: bool = False
    paused: bool = False
    next_slot_at: datetime | None = None
    breaker: Breaker = CLOSED
    slowed: Slowed | None = None

    def state(self, now: datetime) -> TargetState:
        """Return how it stands."""
        if self.paused:
            return TargetState.PAUSED
        if self._phase(now) is not Phase.CLOSED:
            return TargetState.OPEN
        if self._slowed(now) is not None:
            return TargetState.SLOWED
        limits = (self.max_concurrency, self.rate_per_second)
        return TargetState.OK if limits == (None, None) else TargetState.LIMITED

    def is_stopped(self, now: datetime) -> bool:
        """Whether no call may begin, but for a probe."""
        slowed = self._slowed(now)
        return self.paused or self._phase(now) is not Phase.CLOSED or (slowed is not None and now < slowed.at)

    def may_probe(self, now: datetime) -> bool:
        """Whether one call may begin to see whether the target is back."""
        return not self.paused and not self.breaker_is_off and self.breaker.may_probe(now)

    def rate_at(self, now: datetime) -> float | None:
        """Return calls a second, or None where nothing limits them."""
        slowed = self._slowed(now)
        if slowed is None:
            return self.rate_per_second
        return min(slowed.rate_at(now), self.rate_per_second or float("inf"))

    def burst_at(self, now: datetime) -> int:
        """Return how many calls may begin at once after a rest. A slowed target gets them one by one."""
        return 1 if self._slowed(now) is not None else self.burst or 1

    def _phase(self, now: datetime) -> Phase:
        return Phase.CLOSED if self.breaker_is_off else self.breaker.phase(now)

    def _slowed(self, now: datetime) -> Slowed | None:
        return None if self.slowed is None or self.slowed.is_over(now) else self.slowed


def may_go(pace: Pace, *, now: datetime, in_flight: int, room: int) -> int:
    """Return how many runs may be claimed for a target now.

    `in_flight` are its runs that any node holds, `room` is how many more this node can call at once. With a rate
    nothing is given out while half of the horizon is: few large bites instead of many small ones.
    """
    if pace.is_stopped(now):
        return min(1, room) if pace.may_probe(now) else 0
    count = room if pace.max_concurrency is None else min(room, pace.max_concurrency - in_flight)
    rate = pace.rate_at(now)
    if rate is not None:
        ahead = max(pace.next_slot_at or now, now) - now
        credit = (pace.burst_at(now) - 1) / rate
        if ahead - timedelta(seconds=credit) > HORIZON / 2:
            return 0
        count = min(count, int((HORIZON.total_seconds() + credit - ahead.total_seconds()) * rate) + 1)
    return max(0, count)


def slots(pace: Pace, dues: Sequence[datetime], *, now: datetime) -> tuple[list[datetime], datetime]:
    """Return the instants at which runs that are due then may be called, in their order, and the next slot.

    Raises `ValueError` where no rate limits the target.
    """
    rate = pace.rate_at(now)
    if rate is None:
        raise ValueError("only a rate has slots")
    apart = timedelta(seconds=1 / rate)
    credit = (pace.burst_at(now) - 1) * apart
    arrival = pace.next_slot_at or now
    found = []
    for due in dues:
        slot = max(due, now, arrival - credit)
        arrival = max(slot, arrival) + apart
        found.append(slot)
    return found, arrival


def late_after(pace: Pace, now: datetime) -> timedelta:
    """Return how late for its slot a run may leave: half of the way to the next one, where that is far."""
    rate = pace.rate_at(now)
    return LATE if rate is None else max(LATE, timedelta(seconds=0.5 / rate))


def slow_down(pace: Pace, *, now: datetime, seen_rate: float, retry_after: timedelta | None) -> Slowed:
    """Return how a target is slowed down that answered 429 or 503.

    `seen_rate` is at how many calls a second it was seen lately. What it says with `Retry-After` is followed, and the
    recovery begins there.
    """
    before = pace.slowed if pace.slowed is not None and not pace.slowed.is_over(now) else None
    hold = min(retry_after or timedelta(0), LONGEST_HOLD)
    if before is not None and now - before.at < LEAST_BETWEEN_SLOWINGS:
        return Slowed(before.rate, before.refused, max(before.at, now + hold)) if hold else before
    refused = max(seen_rate if before is None else before.rate_at(now), FLOOR_RATE)
    return Slowed(max(refused / 2, FLOOR_RATE), refused, now + hold)


def restarting(now: datetime) -> Slowed:
    """Return the pace at which a target's backlog begins to flow when its breaker closes."""
    return Slowed(RESTART_RATE, RESTART_FROM, now)
