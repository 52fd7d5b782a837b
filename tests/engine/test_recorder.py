"""The recorder writes at once what comes after a pause, and together what comes in a stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from countwheel.engine.context import Context
from countwheel.engine.held import Held, HeldRuns
from countwheel.engine.recorder import Recorder
from countwheel.store import targets
from countwheel.store.targets import SetAsideRun
from countwheel.testing import FakeClock

START = datetime(2026, 11, 24, tzinfo=UTC)
A_MILLISECOND = 0.001


class NoDatabase:
    """Lends a connection that nobody uses."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield None


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each statement had."""
    sizes: list[int] = []

    async def set_aside(_: object, batch: Sequence[SetAsideRun], **_of: str) -> set[UUID]:
        sizes.append(len(batch))
        return {each.run_id for each in batch}

    monkeypatch.setattr(targets, "set_aside", set_aside)
    return sizes


def put_one(recorder: Recorder) -> None:
    """Put an outcome, the shortest there is."""
    run: Any = SimpleNamespace(run_id=uuid4(), job_id=uuid4(), trigger="schedule", overlap=None, terms=None)
    recorder.put(Held(run, "node", 0.0, "target"), SetAsideRun(run.job_id, run.run_id, 1, None))


async def stream(clock: FakeClock, milliseconds: int, every: int) -> None:
    """Let outcomes come one by one, `every` so many milliseconds, until all are written."""
    parts = SimpleNamespace(clock=clock, database=NoDatabase(), held=HeldRuns(), node=SimpleNamespace(node_id="node"))
    recorder = Recorder(cast("Context", parts))

    async def serve() -> None:
        while True:
            await recorder.run_once()

    service = asyncio.create_task(serve())
    for millisecond in range(milliseconds + 10):
        if millisecond % every == 0 and millisecond < milliseconds:
            put_one(recorder)
        for _ in range(5):
            await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)
        clock.advance(A_MILLISECOND)
    await recorder.wait_until_idle()
    service.cancel()


async def test_what_comes_after_a_pause_is_written_at_once(batches: list[int]) -> None:
    """One every twenty milliseconds: each has a statement of its own."""
    await stream(FakeClock(START), milliseconds=200, every=20)
    assert batches == [1] * 10


async def test_a_stream_gathers(batches: list[int]) -> None:
    """One every millisecond: a statement for what four of them brought, not a commit a run."""
    await stream(FakeClock(START), milliseconds=101, every=1)
    assert sum(batches) == 101
    assert len(batches) <= 101 / 4 + 2
