"""Time and chance that a test holds in its hand."""

import asyncio
import heapq
from datetime import datetime, timedelta
from itertools import count


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: datetime, monotonic: float = 1_000.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    def now(self) -> datetime:
        """Return the instant that was set."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that only `advance` moves."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was advanced by `seconds`."""
        if seconds <= 0:
            return
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Let time pass; who has slept long enough wakes up."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            heapq.heappop(self._sleepers)[2].set()

    def set(self, now: datetime) -> None:
        """Step the wall clock, as an operator or NTP does; monotonic time does not notice."""
        self._now = now


class FixedChance:
    """Randomness that is always the same."""

    def __init__(self, share: float = 0.5) -> None:
        """`share` says where between low and high every number lies (0 to 1)."""
        self._share = share
        self._count = count(1)

    def uniform(self, low: float, high: float) -> float:
        """Return the number that lies `share` of the way from `low` to `high`."""
        return low + (high - low) * self._share

    def token_bytes(self, count: int) -> bytes:
        """Return bytes that differ from call to call, in the same order in every test."""
        return next(self._count).to_bytes(count, "big")
