"""The recorder writes at once what comes after a pause, and together what comes in a stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from stand_ins import NoDatabase

START = datetime(2026, 11, 24, tzinfo=UTC)
A_MILLISECOND = 0.001


@dataclass
class Written:
    """What was written, and when (in seconds of the clock that `stream` moves)."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(START, monotonic=0.0))
    put_at: list[float] = field(default_factory=list)
    written_at: list[float] = field(default_factory=list)
    """Of each outcome."""
    batches: list[int] = field(default_factory=list)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """Take in what the recorder writes."""
    seen = Written()

    async def set_aside(_: object, batch: Sequence[SetAsideRun], **_of: str) -> set[UUID]:
        seen.batches.append(len(batch))
        seen.written_at += [seen.clock.monotonic()] * len(batch)
        return {each.run_id for each in batch}

    monkeypatch.setattr(targets, "set_aside", set_aside)
    return seen


async def stream(written: Written, milliseconds: int, every: int) -> None:
    """Let outcomes come one by one, `every` so many milliseconds, and a while pass after the last."""
    clock = written.clock
    parts = SimpleNamespace(clock=clock, database=NoDatabase(), held=HeldRuns(), node=SimpleNamespace(node_id="node"))
    recorder = Recorder(cast("Context", parts))

    async def serve() -> None:
        while True:
            await recorder.run_once()

    service = asyncio.create_task(serve())
    for millisecond in range(milliseconds + 10):
        if millisecond % every == 0 and millisecond < milliseconds:
            run: Any = SimpleNamespace(run_id=uuid4(), job_id=uuid4(), trigger="schedule", overlap=None, terms=None)
            recorder.put(Held(run, "node", 0.0, "target"), SetAsideRun(run.job_id, run.run_id, 1, None))
            written.put_at.append(clock.monotonic())
        for _ in range(5):
            await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)
        clock.advance(A_MILLISECOND)
    service.cancel()


async def test_what_comes_after_a_pause_is_written_at_once(written: Written) -> None:
    """One every twenty milliseconds: each in the millisecond in which it comes."""
    await stream(written, milliseconds=200, every=20)
    assert written.written_at == written.put_at


async def test_a_stream_gathers(written: Written) -> None:
    """One every millisecond: a statement for what four of them brought, not a commit a run, and none waits longer."""
    await stream(written, milliseconds=101, every=1)
    assert sum(written.batches) == 101
    assert len(written.batches) <= 101 / 4 + 2
    waited = [late - early for early, late in zip(written.put_at, written.written_at, strict=True)]
    assert max(waited) <= 5 * A_MILLISECOND
