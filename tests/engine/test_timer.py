"""The timer hands on in order, at the time, never before."""

import asyncio
from datetime import UTC, datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from countwheel.engine.held import Held, Phase
from countwheel.engine.timer import Timer
from countwheel.store.runs import ClaimedRun
from countwheel.testing import FakeClock

START = datetime(2026, 11, 24, tzinfo=UTC)


def held_until(moment: float) -> Held:
    """A held run of which only the moment matters."""
    return Held(cast("ClaimedRun", None), "node", moment, "target")


async def test_a_loop_that_wakes_too_early_hands_nothing_on() -> None:
    """The clock is read again: a timer of the event loop that fires early does not make a call early."""
    clock, out = FakeClock(START, monotonic=0.0), list[Held]()
    timer = Timer(clock, out.append)
    run = held_until(0.0005)
    timer.hold(run)
    for _ in range(50):  # the loop's own time goes by, and the timer wakes up; the node's clock stands still
        await asyncio.sleep(0)  # noqa: TID251 (gives way; no time is waited for)
        timer.run_once()
    assert out == []
    clock.advance(0.0005)
    assert (timer.run_once(), out) == (1, [run])
    assert timer.run_once() == 0
    timer.stop()


async def test_what_was_cancelled_meanwhile_is_not_handed_on() -> None:
    """Only a run that still waits is handed on; after a stop nothing is."""
    clock, out = FakeClock(START, monotonic=0.0), list[Held]()
    timer = Timer(clock, out.append)
    cancelled = held_until(1.0)
    timer.hold(cancelled)
    cancelled.phase = Phase.RECORDING
    clock.advance(2.0)
    assert timer.run_once() == 0
    timer.hold(held_until(3.0))
    timer.stop()
    clock.advance(2.0)
    assert (timer.run_once(), out) == (0, [])


@given(moments=st.lists(st.floats(0.001, 100), max_size=30), steps=st.lists(st.floats(0, 10), max_size=30))
def test_every_run_comes_out_once_in_order_and_never_early(moments: list[float], steps: list[float]) -> None:
    """Whatever is held and however time passes."""

    async def scenario() -> None:
        clock, out = FakeClock(START, monotonic=0.0), list[tuple[float, float]]()
        timer = Timer(clock, lambda held: out.append((held.due_monotonic, clock.monotonic())))
        for moment in moments:
            timer.hold(held_until(moment))
        for step in [*steps, 101.0]:
            clock.advance(step)
            timer.run_once()
        timer.stop()
        assert [due for due, _ in out] == sorted(moments)
        assert all(due <= at for due, at in out)

    asyncio.run(scenario())
