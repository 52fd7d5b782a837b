"""Holds claimed runs until their millisecond.

Alarms may ring early, so the clock is read again before anything is handed on, and what is not due yet is waited for
again.
"""

import heapq
from collections.abc import Callable
from itertools import count

from countwheel.clock import Clock
from countwheel.engine.alarm import Alarm, AlarmMaker, loop_alarm
from countwheel.engine.held import Held, Phase


class Timer:
    """A heap of held runs by the monotonic moment they are due at."""

    def __init__(self, clock: Clock, on_due: Callable[[Held], None], make_alarm: AlarmMaker = loop_alarm) -> None:
        """`on_due` is called once for each run, at its moment or after it, never before."""
        self._clock = clock
        self._on_due = on_due
        self._heap: list[tuple[float, int, Held]] = []
        self._order = count()
        self._make_alarm = make_alarm
        self._alarm: Alarm | None = None
        self._armed_for = float("inf")

    def hold(self, held: Held) -> None:
        """Take a run in; it comes out of `on_due` when it is due."""
        heapq.heappush(self._heap, (held.due_monotonic, next(self._order), held))
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
        self._armed_for = float("inf")
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _ring(self) -> None:
        self._armed_for = float("inf")
        self.run_once()
        self._arm()

    def _arm(self) -> None:
        if not self._heap:
            return
        due = self._heap[0][0]
        if due < self._armed_for:
            self._armed_for = due
            if self._alarm is None:
                self._alarm = self._make_alarm(self._ring)
            self._alarm.set(due - self._clock.monotonic())
