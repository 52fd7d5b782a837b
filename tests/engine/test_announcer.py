"""Runs that are announced together go by one statement, and each keeps its own fate."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from countwheel.engine.announcer import Announcer
from countwheel.engine.context import Context
from countwheel.engine.held import Held
from countwheel.store import runs
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.runs import RunningRun
from countwheel.testing import FakeClock
from stand_ins import NoDatabase

START = datetime(2026, 11, 24, tzinfo=UTC)


class Marking:
    """Stands for the statement: it is under way until it is told to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        self.batches: list[int] = []
        monkeypatch.setattr(runs, "mark_running", self)

    async def __call__(self, _: object, rows: Sequence[RunningRun]) -> set[UUID]:
        self.batches.append(len(rows))
        self.begun.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return {row.run_id for row in rows}


def announce(count: int) -> list[asyncio.Task[bool]]:
    """Announce runs side by side."""
    time = SimpleNamespace(at=lambda _: START)
    parts = SimpleNamespace(clock=FakeClock(START, monotonic=0.0), database=NoDatabase(), database_time=time)
    announcer = Announcer(cast("Context", parts))
    tasks = []
    for _ in range(count):
        run: Any = SimpleNamespace(run_id=uuid4(), job_id=uuid4(), fence=1, due_at=START)
        tasks.append(asyncio.create_task(announcer.announce(Held(run, "node", 0.0, "target"))))
    return tasks


async def test_a_run_that_is_cancelled_meanwhile_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of three is cancelled while all are written down: the other two may leave."""
    marking = Marking(monkeypatch)
    first, *others = announce(3)
    await marking.begun.wait()
    first.cancel()
    marking.go_on.set()
    assert await asyncio.gather(*others) == [True, True]
    assert marking.batches == [3]


async def test_each_is_told_that_the_database_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes that for having been taken over: each asks again."""
    marking = Marking(monkeypatch)
    marking.error = DatabaseUnavailableError("away")
    marking.go_on.set()
    results = await asyncio.gather(*announce(3), return_exceptions=True)
    assert results == [marking.error] * 3
