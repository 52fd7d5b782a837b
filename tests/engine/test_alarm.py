"""Alarms ring at their moment, by the kernel's timer or the loop's."""

import asyncio
import sys
import time
from collections.abc import Callable

import pytest

from countwheel.engine.alarm import AlarmMaker, KernelAlarm, kernel_alarm, loop_alarm


def ringing(make: AlarmMaker) -> tuple[asyncio.Event, Callable[[float], None], Callable[[], None]]:
    rung = asyncio.Event()
    alarm = make(rung.set)
    return rung, alarm.set, alarm.close


@pytest.mark.parametrize("make", [kernel_alarm, loop_alarm])
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.0002, 0.02])
async def test_it_rings(make: AlarmMaker, seconds: float) -> None:
    """For a moment that is past, now or to come."""
    rung, set_for, close = ringing(make)
    set_for(seconds)
    async with asyncio.timeout(5):
        await rung.wait()
    close()


@pytest.mark.parametrize("make", [kernel_alarm, loop_alarm])
async def test_the_last_setting_counts(make: AlarmMaker) -> None:
    """Set for an hour and then for now, it rings now; set for now and then for an hour, it does not."""
    rung, set_for, close = ringing(make)
    set_for(3600.0)
    set_for(0.001)
    async with asyncio.timeout(5):
        await rung.wait()
    rung.clear()
    other, set_other, close_other = ringing(make)
    set_for(0.001)
    set_for(3600.0)
    set_other(0.005)
    async with asyncio.timeout(5):
        await other.wait()
    assert not rung.is_set()
    close()
    close_other()


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
async def test_the_kernels_alarm_is_never_early() -> None:
    """By the clock that everything here is counted on."""
    rung = asyncio.Event()
    alarm = kernel_alarm(rung.set)
    assert isinstance(alarm, KernelAlarm)
    for _ in range(20):
        began = time.monotonic()  # noqa: TID251 (what the kernel counts by)
        alarm.set(0.001)
        async with asyncio.timeout(5):
            await rung.wait()
        assert time.monotonic() - began >= 0.001  # noqa: TID251
        rung.clear()
    alarm.close()


async def test_a_closed_alarm_is_silent() -> None:
    """It may be closed twice."""
    rung, set_for, close = ringing(kernel_alarm)
    set_for(0.001)
    close()
    close()
    other, set_other, close_other = ringing(kernel_alarm)
    set_other(0.005)
    async with asyncio.timeout(5):
        await other.wait()
    assert not rung.is_set()
    close_other()
