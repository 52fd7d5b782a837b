"""A database of its own with the schema, filled with as many rows as a measurement wants."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from countwheel.clock import SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store import migrate, partitions
from countwheel.store.database import Database


@asynccontextmanager
async def filled(statements: str) -> AsyncIterator[str]:
    """Lend the DSN of a database in which `statements` were executed. It is gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-benchmark-"))
    postgres = EmbeddedPostgres(folder, SystemClock(), progress=lambda _: None, settings={"fsync": "off"})
    try:
        dsn = await postgres.start()
        database = Database(dsn, name="bench", size=1)
        await database.open()
        async with database.connection() as connection:
            await migrate.apply_migrations(connection)
            await partitions.make_ahead(connection)
        await database.close()
        with psycopg.connect(dsn, autocommit=True) as filling:
            filling.execute(statements.encode())
        yield dsn
    finally:
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
