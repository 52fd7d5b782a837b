"""Migrations: numbered, in order, forward only, safe to race."""

import asyncio

import pytest

from countwheel.store import migrate, runs
from countwheel.store.database import Database, DatabaseUnavailableError, RefusedRowError


@pytest.fixture
async def empty(empty_dsn: str):
    database = Database(empty_dsn, name="test", size=4)
    await database.open()
    yield database
    await database.close()


def test_numbers_follow_each_other() -> None:
    """From 1, without a gap or a repeat."""
    versions = [migration.version for migration in migrate.known_migrations()]
    assert versions == list(range(1, len(versions) + 1))


async def test_an_empty_database_lacks_everything_and_then_nothing(empty: Database) -> None:
    """Reading the status changes nothing; applying brings all, and a second time nothing."""
    async with empty.connection() as connection:
        known = tuple(migration.version for migration in migrate.known_migrations())
        assert (await migrate.read_status(connection)).missing == known
        assert [step.version for step in await migrate.apply_migrations(connection)] == list(known)
        assert (await migrate.read_status(connection)).is_current
        assert await migrate.apply_migrations(connection) == []


async def test_racing_migrators_take_turns(empty: Database) -> None:
    """Four at once, again and again: each migration is applied once, and none of them fails."""

    async def apply() -> int:
        async with empty.connection() as connection:
            return len(await migrate.apply_migrations(connection))

    for _ in range(8):
        applied = await asyncio.gather(*(apply() for _ in range(4)))
        assert sorted(applied) == [0, 0, 0, len(migrate.known_migrations())]
        async with empty.connection() as connection:
            await connection.execute("DROP SCHEMA public CASCADE")
            await connection.execute("CREATE SCHEMA public")


async def test_a_migration_that_fails_leaves_nothing(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: after a fault in the second step the first is not there either."""
    broken = [migrate.Migration(1, "0001_good", "CREATE TABLE good (n int)"), migrate.Migration(2, "0002_bad", "BAD")]
    monkeypatch.setattr(migrate, "known_migrations", lambda: broken)
    with pytest.raises(Exception, match="syntax error"):
        async with empty.connection() as connection:
            await migrate.apply_migrations(connection)
    async with empty.connection() as connection:
        assert (await migrate.read_status(connection)).missing == (1, 2)
        row = await (await connection.execute("SELECT to_regclass('good')")).fetchone()
        assert row == (None,)


async def test_a_newer_schema_is_fine(database: Database) -> None:
    """A release goes on working while the next one has already migrated."""
    async with database.connection() as connection:
        await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'future')")
        assert (await migrate.read_status(connection)).is_current


async def test_faults_are_said_in_our_words(database: Database) -> None:
    """A connection that is cut is the database's absence; a refused row is the row's fault."""
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(RefusedRowError):
        async with database.connection() as connection:
            await connection.execute("UPDATE tenants SET name = ''")
    async with database.connection() as connection:
        assert (await runs.next_due(connection)).found is None
