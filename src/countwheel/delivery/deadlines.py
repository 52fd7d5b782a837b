"""The time-outs of many exchanges on one timer of the event loop.

A timer of its own for each exchange is nearly always made in vain: the answer comes first. Here an exchange is looked
at when the first of all deadlines has come, and that is 30 s away as a rule.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

GRAIN_SECONDS = 0.01
"""How late a time-out may be: the deadlines are looked through so often at the most."""


class Exchange(Protocol):
    """What has a deadline."""

    def time_is_up(self) -> None:
        """End it: its deadline has come."""
        ...


class Deadlines:
    """Knows until when which exchange may last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._deadlines: dict[Exchange, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = float("inf")

    def watch(self, exchange: Exchange, deadline: float) -> None:
        """Let an exchange end at `deadline` (by the clock), unless it is released before."""
        self._deadlines[exchange] = deadline
        if deadline < self._looks_at:
            self._arm(deadline)

    def release(self, exchange: Exchange) -> None:
        """It has ended by itself."""
        self._deadlines.pop(exchange, None)

    def close(self) -> None:
        """Look at nothing any more."""
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._clock()
        overdue = [exchange for exchange, deadline in self._deadlines.items() if deadline <= now]
        for exchange in overdue:
            del self._deadlines[exchange]
        self._looks_at = float("inf")
        if self._deadlines:
            self._arm(max(min(self._deadlines.values()), now + GRAIN_SECONDS))
        for exchange in overdue:  # last: whatever comes of it, the others are looked after
            exchange.time_is_up()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = at
        self._timer = self._loop.call_later(at - self._clock(), self._look)
