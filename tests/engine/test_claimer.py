"""When a node claims: at once what comes after a pause, and ten times a second what comes in a stream."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from countwheel.engine import claimer
from countwheel.engine.claimer import Claimer
from countwheel.engine.context import Context
from countwheel.engine.floor import Floor
from countwheel.engine.held import HeldRuns
from countwheel.engine.settings import EngineSettings
from countwheel.engine.taking import Taken
from countwheel.engine.timer import Timer
from countwheel.store.database_time import DatabaseTime
from countwheel.store.runs import Looked
from countwheel.testing import FakeClock
from stand_ins import NoDatabase

START = datetime(2026, 11, 24, tzinfo=UTC)
SETTINGS = EngineSettings()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass
class Scene:
    """What is due when (in seconds from the start), and when a claim took how many."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(START, monotonic=0.0))
    due: list[float] = field(default_factory=list)
    claims: list[tuple[float, int]] = field(default_factory=list)

    async def next_due(self, _: object, *, since: datetime) -> Looked[datetime | None]:
        return Looked(min((due for due in map(at, self.due) if due >= since), default=None), 0.0)

    async def claim(self, *_: object, look_ahead_seconds: float, since: datetime, **_of: object) -> list[float]:
        return [due for due in self.due if at(due) >= since and due <= self.clock.monotonic() + look_ahead_seconds]

    async def obey_plans(self, _: object, claimed: list[float], *_of: object, node_id: str) -> Taken:
        self.due = [due for due in self.due if due not in claimed]
        self.claims.append((round(self.clock.monotonic(), 3), len(claimed)))
        return Taken([], min(len(claimed), 1), node_id, is_behind=False)

    async def tenants_waiting(self, *_: object, **_of: object) -> list[UUID]:
        return []

    async def play(self, seconds: float) -> None:
        """Let the claimer look every so often."""
        time = DatabaseTime()
        time.observe(asked_at=0.0, answered_at=0.0, database_time=START)
        node = SimpleNamespace(node_id="node", has_lease=lambda: True)
        parts = SimpleNamespace(
            clock=self.clock, database=NoDatabase(), held=HeldRuns(), node=node, settings=SETTINGS,
            database_time=time, claiming=asyncio.Lock(), targets=SimpleNamespace(keep_back=None),
        )  # fmt: skip
        context = cast("Context", parts)
        claims = Claimer(context, cast("Timer", None), Floor(context))
        while self.clock.monotonic() < seconds:
            self.clock.advance(await claims.run_once() or 0.001)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    found = Scene()
    monkeypatch.setattr(claimer.runs, "next_due", found.next_due)
    monkeypatch.setattr(claimer.runs, "claim", found.claim)
    monkeypatch.setattr(claimer.runs, "tenants_waiting", found.tenants_waiting)
    monkeypatch.setattr(claimer, "obey_plans", cast("Any", found.obey_plans))
    return found


async def test_what_comes_after_a_pause_is_claimed_as_soon_as_it_is_in_reach(scene: Scene) -> None:
    """A crowd: the whole look-ahead is there to claim it in."""
    scene.due = [2.0] * 500
    await scene.play(3.0)
    taken = [claim for claim in scene.claims if claim[1]]
    assert [count for _, count in taken] == [500]
    assert 0 <= taken[0][0] - (2.0 - SETTINGS.look_ahead_seconds) <= SETTINGS.poll_every_seconds


async def test_a_stream_is_claimed_a_tenth_of_a_second_at_a_time(scene: Scene) -> None:
    """One every five milliseconds for two seconds: some twenty claims, and each is long before its runs are due."""
    scene.due = [1.0 + number * 0.005 for number in range(400)]
    await scene.play(4.0)
    taken = [claim for claim in scene.claims if claim[1]]
    assert sum(count for _, count in taken) == 400
    assert len(taken) <= 2.0 / 0.1 + 2


async def test_what_is_due_now_is_claimed_at_the_next_look(scene: Scene) -> None:
    """In the middle of a stream, too."""
    scene.due = [1.0 + number * 0.005 for number in range(400)]
    await scene.play(1.0)
    scene.due.append(1.0)
    await scene.play(1.0 + 2 * SETTINGS.poll_every_seconds)
    assert 1.0 not in scene.due
