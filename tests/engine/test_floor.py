"""From when on a node looks for what is due: no run is overlooked for long, and no look is dear for long."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countwheel.engine import floor as module
from countwheel.engine.context import Context
from countwheel.engine.floor import Floor
from countwheel.engine.settings import EngineSettings
from countwheel.store.database_time import DatabaseTime
from countwheel.store.runs import BEGINNING, Looked
from countwheel.testing import FakeClock
from stand_ins import NoDatabase

START = datetime(2026, 11, 24, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass
class Scene:
    """What waits (by when it is due, in seconds from the start), and from when on it was looked for."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(START, monotonic=0.0))
    waiting: set[float] = field(default_factory=set)
    looked_since: list[datetime] = field(default_factory=list)
    takes: float = 0.0
    """How long a look takes the database, in seconds."""

    async def next_due(self, _: object, *, since: datetime) -> Looked[datetime | None]:
        self.looked_since.append(since)
        found = min((due for due in map(at, self.waiting) if due >= since), default=None)
        await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)
        return Looked(found, self.takes)

    def floor(self) -> Floor:
        time = DatabaseTime()
        time.observe(asked_at=0.0, answered_at=0.0, database_time=START)
        context = SimpleNamespace(
            clock=self.clock, database=NoDatabase(), database_time=time, settings=EngineSettings()
        )
        return Floor(cast("Context", context))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    found = Scene()
    monkeypatch.setattr(module.runs, "next_due", found.next_due)
    return found


async def test_a_look_begins_where_the_last_one_found_something(scene: Scene) -> None:
    """The first one at the beginning. What waits since long ago stays in sight."""
    floor = scene.floor()
    scene.waiting = {-60.0, -50.0}
    assert await floor.look() == at(-60)
    scene.waiting.remove(-60.0)
    assert await floor.look() == at(-50)
    assert scene.looked_since == [BEGINNING, at(-60)]
    assert floor.since == at(-50)


async def test_what_is_due_later_hides_nothing_that_is_due_now(scene: Scene) -> None:
    """A run that is created due now is found by the next look, though one in an hour was seen first."""
    floor = scene.floor()
    scene.waiting = {3600.0}
    assert await floor.look() == at(3600)
    scene.clock.advance(0.025)
    scene.waiting.add(0.01)
    assert await floor.look() == at(0.01)


async def test_a_whole_look_finds_what_lies_below(scene: Scene) -> None:
    """A run that was given back, an hour overdue: the next look begins there, also one that is under way just now."""
    floor = scene.floor()
    await floor.look()
    scene.waiting = {-3600.0}
    assert await floor.look() is None
    await floor.look_whole()
    assert await floor.look() == at(-3600)
    scene.waiting = {-7200.0}
    await asyncio.gather(floor.look(), floor.look_whole())
    assert await floor.look() == at(-7200)


async def test_whole_looks_are_as_frequent_as_they_are_cheap(scene: Scene) -> None:
    """A twentieth of the time is for them, at the most."""
    floor = scene.floor()
    assert await floor.look_whole() == 0.25
    scene.takes = 2.0
    assert await floor.look_whole() == 40.0


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(-2_000, 2_000)), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_after_a_whole_look_nothing_is_overlooked(scene: Scene, runs: list[tuple[int, int]]) -> None:
    """A law: whatever comes in meanwhile, due whenever, the look after a whole one finds the first that waits."""
    scene.waiting, scene.clock = set(), FakeClock(START, monotonic=0.0)
    floor = scene.floor()
    for pause_ms, due_ms in runs:
        await floor.look()
        scene.clock.advance(pause_ms / 1000)
        scene.waiting.add(scene.clock.monotonic() + due_ms / 1000)
        await floor.look()
        await floor.look_whole()
        found = await floor.look()
        assert found == at(min(scene.waiting))
        if due_ms % 2:
            scene.waiting.discard(min(scene.waiting))  # claimed
