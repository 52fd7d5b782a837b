"""A background service goes on whatever happens, and ends when it is told to."""

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from countwheel.engine.service import supervise
from countwheel.store.database import DatabaseUnavailableError
from countwheel.testing import FakeClock

START = datetime(2026, 11, 24, tzinfo=UTC)


async def rounds_of(outcomes: list[float | Exception], clock: FakeClock) -> list[float]:
    """Run a service whose rounds have these outcomes, and return when (in seconds) each of them began."""
    began: list[float] = []
    over = asyncio.Event()

    async def run_once() -> float:
        began.append(clock.monotonic() - 1_000.0)
        if len(began) > len(outcomes):
            over.set()
            await asyncio.Event().wait()
        outcome = outcomes[len(began) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    task = asyncio.create_task(supervise("test", run_once, clock))
    while not over.is_set():
        await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)
        clock.advance(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return began


async def test_a_round_follows_a_round() -> None:
    """Each after the pause that the one before asked for; none after 0."""
    began = await rounds_of([1.0, 0.0, 0.5], FakeClock(START))
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert pauses[0] >= 1.0
    assert pauses[1] < 0.5
    assert pauses[2] >= 0.5


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), RuntimeError("bug"), KeyError("x")])
async def test_no_error_ends_a_service(error: Exception) -> None:
    """Ten failures in a row: an eleventh round comes, after pauses that grow up to two seconds."""
    began = await rounds_of([error] * 10, FakeClock(START))
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert len(began) == 11
    assert pauses[0] < 0.3
    assert 1.9 < max(pauses) < 2.3


async def test_a_swallowed_cancellation_ends_it_all_the_same() -> None:
    """A library that swallows the cancellation (asyncio.wait_for of Python 3.11 may) cannot keep a service alive."""
    in_round = asyncio.Event()

    async def run_once() -> float:
        in_round.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 3_600.0

    task = asyncio.create_task(supervise("test", run_once, FakeClock(START)))
    await in_round.wait()
    task.cancel()
    await asyncio.wait_for(task, 5)
