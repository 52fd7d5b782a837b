"""PostgreSQL behind a pooler that lends a session for one transaction (decision 0029)."""

from collections.abc import AsyncIterator, Iterator

import pytest

from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store.database import SESSION_SETTINGS, Database, DatabaseUnavailableError
from countwheel.store.session import find_others, keep_with_role
from pooler import BINARY, WANTED, Pooler, pooler_before

pytestmark = pytest.mark.skipif(
    BINARY is None or bool(WANTED), reason="no pgbouncer here, or every database behind one"
)


@pytest.fixture(scope="module")
def pooler(cluster: EmbeddedPostgres) -> Iterator[Pooler]:
    """A pgbouncer as it comes from its package, in transaction mode."""
    with pooler_before(cluster.dsn) as running:
        yield running


@pytest.fixture
async def pooled(pooler: Pooler, dsn: str) -> AsyncIterator[Database]:
    """A fresh database by way of the pooler."""
    database = Database(pooler.way_to(dsn), name="test", size=4, behind_pooler=True)
    await database.open()
    yield database
    await database.close()


async def test_a_statement_may_come_again_on_any_session(pooled: Database) -> None:
    """Nothing is prepared: a session that has not seen a statement knows nothing of it."""
    for _ in range(20):
        async with pooled.connection() as first, pooled.transaction() as second:
            await second.execute("SELECT 1")  # holds one session, so that the other way leads to another
            row = await (await first.execute("SELECT %s::int", [7])).fetchone()
            assert row == (7,)


async def test_the_settings_of_our_sessions_are_kept_with_our_role(
    pooler: Pooler, dsn: str, pooled: Database, database: Database
) -> None:
    """Sessions that begin after `countwheel db migrate` have all of them, as a connection of our own has."""
    async with database.connection() as own:
        assert await find_others(own) == {}
    async with pooled.connection() as connection:
        assert set(await find_others(connection)) >= {"statement_timeout", "lock_timeout", "random_page_cost"}
        await keep_with_role(connection)
    pooler.connect_anew(dsn)
    async with pooled.connection() as connection:
        assert await find_others(connection) == {}
    assert "statement_timeout" in SESSION_SETTINGS


async def test_without_the_setting_nothing_goes_through(pooler: Pooler, dsn: str) -> None:
    """A pooler refuses a session that brings its settings along: nobody runs on half of them unawares."""
    database = Database(pooler.way_to(dsn), name="test", size=1, wait_seconds=0.5)
    await database.open()
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with database.connection():
                pass
    finally:
        await database.close()
