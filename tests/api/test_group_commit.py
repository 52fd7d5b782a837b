"""Writes for many at once: nobody's is left lying."""

import asyncio
from collections.abc import Sequence

from countwheel.api.group_commit import GroupCommit
from countwheel.store.database import Connection, Database


async def _echo(connection: Connection, rows: Sequence[int]) -> list[int]:
    await connection.execute("SELECT 1")
    return list(rows)


async def test_who_writes_again_at_once_is_written(database: Database) -> None:
    """A row that comes in the step in which the writer has found nothing more waiting is not left to the next comer."""
    rows = GroupCommit[int, int](database, _echo)
    async with asyncio.timeout(10):
        for number in range(20):
            assert await rows.write(number) == number


async def test_every_row_of_a_crowd_is_written(database: Database) -> None:
    """Clients that each write when they are answered: as many answers as rows, each its own."""
    rows = GroupCommit[int, int](database, _echo)

    async def client(first: int) -> list[int]:
        return [await rows.write(first + number) for number in range(50)]

    async with asyncio.timeout(30):
        found = await asyncio.gather(*(client(1_000 * number) for number in range(20)))
    assert [sorted(each) for each in found] == [[1_000 * number + step for step in range(50)] for number in range(20)]
