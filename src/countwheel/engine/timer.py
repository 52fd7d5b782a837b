"""Holds claimed runs until their millisecond.

Event-loop timers may fire early (facts.md: uvloop's by up to 1.4 ms), so the clock is read again before anything is
handed on, and what is not due yet is waited for again.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from countwheel.clock import Clock
from countwheel.engine.held import Held, Phase

_SPIN_SECONDS = 0.0004
"""Closer than this, the loop is run round instead of a timer set: a timer's grain is a millisecond."""


class Timer:
    """A heap of held runs by the monotonic moment they are due at."""

    def __init__(self, clock: Clock, on_due: Callable[[Held], None]) -> None:
        """`on_due` is called once for each run, at its moment or after it, never before."""
        self._clock = clock
        self._on_due = on_due
        self._heap: list[tuple[float, int, Held]] = []
        self._order = count()
        self._handle: asyncio.Handle | None = None
        self._armed_for = float("inf")

    def hold(self, held: Held) -> None:
        """Take a run in; it comes out of `on_due` when it is due."""
        heapq.heappush(self._heap, (held.due_monotonic, next(self._order), held))
        if held.due_monotonic < self._armed_for:
            self._arm()

    def run_once(self) -> int:
        """Hand on everything that is due now, and return how many runs that were."""
        handed_on = 0
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, _, held = heapq.heappop(self._heap)
            if held.phase is Phase.WAITING:  # not cancelled or released in the meantime
                handed_on += 1
                self._on_due(held)
        return handed_on

    def stop(self) -> None:
        """Hand on nothing more."""
        self._heap.clear()
        self._disarm()

    def _tick(self) -> None:
        self._armed_for = float("inf")
        self._handle = None
        self.run_once()
        self._arm()

    def _arm(self) -> None:
        self._disarm()
        if not self._heap:
            return
        due = self._heap[0][0]
        remaining = due - self._clock.monotonic()
        loop = asyncio.get_running_loop()
        self._armed_for = due
        self._handle = (
            loop.call_soon(self._tick) if remaining < _SPIN_SECONDS else loop.call_later(remaining, self._tick)
        )

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = float("inf")
