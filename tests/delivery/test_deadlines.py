"""Many time-outs on one timer."""

import asyncio
from datetime import UTC, datetime

from countwheel.clock import SystemClock
from countwheel.delivery.deadlines import Deadlines
from countwheel.testing.clock import FakeClock


class Exchange:
    """Knows whether its time was up."""

    def __init__(self) -> None:
        self.is_up = asyncio.Event()

    def time_is_up(self) -> None:
        """Take note."""
        self.is_up.set()


async def test_each_ends_at_its_own_deadline() -> None:
    """The earlier one that comes later is not overlooked, and one that was released is left alone."""
    clock = SystemClock().monotonic
    deadlines = Deadlines(asyncio.get_running_loop(), clock)
    late, early, released = Exchange(), Exchange(), Exchange()
    began = clock()
    deadlines.watch(late, began + 0.1)
    deadlines.watch(released, began + 0.02)
    deadlines.watch(early, began + 0.05)
    deadlines.release(released)
    async with asyncio.timeout(5):
        await early.is_up.wait()
        assert clock() >= began + 0.05
        await late.is_up.wait()
    assert clock() >= began + 0.1
    assert not released.is_up.is_set()


async def test_a_timer_that_fires_too_early_ends_nothing() -> None:
    """The clock is read again."""
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC), monotonic=0.0)
    deadlines = Deadlines(asyncio.get_running_loop(), clock.monotonic)
    exchange = Exchange()
    deadlines.watch(exchange, 0.005)
    deadlines._look()
    assert not exchange.is_up.is_set()
    clock.advance(0.005)
    deadlines._look()
    assert exchange.is_up.is_set()
    deadlines.close()


async def test_a_closed_one_looks_at_nothing() -> None:
    """After the close no timer is left behind that could ring."""
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC), monotonic=0.0)
    deadlines = Deadlines(asyncio.get_running_loop(), clock.monotonic)
    exchange = Exchange()
    deadlines.watch(exchange, 0.001)
    deadlines.close()
    clock.advance(1.0)
    deadlines._look()
    assert not exchange.is_up.is_set()
