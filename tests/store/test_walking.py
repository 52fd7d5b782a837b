"""How far a page looks: step by step, as long as its time lasts (decision 0028)."""

from datetime import UTC, datetime

import pytest
from test_retention import TENANT, end_runs

from countwheel.domain.run import ENDED
from countwheel.store import listing
from countwheel.store.database import Database
from countwheel.store.listing import Before, EndedFilter, find_page
from countwheel.store.walking import WALK_SECONDS, Walk
from countwheel.testing import FakeClock

START = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("steps_left", "growth"), [(9.0, 4), (3.1, 3), (1.01, 1), (0.9, None), (0.4, None), (0.0, None), (-1.0, None)]
)
def test_the_next_step_is_as_long_as_the_time_allows(steps_left: float, growth: int | None) -> None:
    """By what the last one took: up to four times as long, or none where less than that is left."""
    clock = FakeClock(START)
    walk = Walk(clock.monotonic)
    took = WALK_SECONDS / 10
    clock.advance(WALK_SECONDS - steps_left * took - took)
    walk.begin_step()
    clock.advance(took)
    assert walk.growth() == growth


def test_a_step_that_took_no_time_is_followed_by_a_longer_one() -> None:
    """The clock may not have moved."""
    walk = Walk(FakeClock(START).monotonic)
    walk.begin_step()
    assert walk.growth() == 4


async def test_a_page_ends_where_every_step_takes_too_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine, or where the days do not tell how many runs there are: as in the partition for no day."""
    monkeypatch.setattr(listing, "_PATIENCE_SECONDS", 0.001)
    async with database.connection() as connection:
        await end_runs(connection, days_ago=400, rows=20_000)
        page = await find_page(
            connection, TENANT, ENDED, EndedFilter(), before=Before(), limit=3, monotonic=lambda: 0.0
        )
    assert len(page.runs) == 3
