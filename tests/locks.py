"""What PostgreSQL says of who waits for whom."""

from countwheel.store.database import Database
from harness import eventually


async def count_waiting(database: Database) -> int:
    """Return how many sessions of this database wait for a lock."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.rowcount


async def until_waiting(database: Database, count: int) -> None:
    """Return when so many sessions of this database wait for a lock."""

    async def are_waiting() -> bool:
        return await count_waiting(database) == count

    await eventually(are_waiting)
