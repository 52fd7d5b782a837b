"""A database for histories: the schema, made while `now()` means the virtual clock, and a tenant."""

import asyncio
from random import Random

import psycopg

from countwheel.auth import bootstrap
from countwheel.store import migrate
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer
from simulator.database import SEARCH_PATH, VIRTUAL_TIME
from simulator.node import SimChance
from simulator.play import BEGAN
from simulator.target import SECRET_KEY


def prepare(dsn: str) -> None:
    """Make an empty database ready for `play`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(VIRTUAL_TIME)
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET search_path TO {SEARCH_PATH}".encode())
        connection.execute(f"ALTER DATABASE {name} SET sim.now TO '{BEGAN.isoformat()}'".encode())
    asyncio.run(_make_schema(dsn))


async def _make_schema(dsn: str) -> None:
    database = Database(dsn, name="simulator", size=1)
    await database.open()
    async with database.connection() as connection:
        await migrate.apply_migrations(connection)
    chance = SimChance(Random(0))
    await bootstrap.ensure_tenant(database, Sealer(SECRET_KEY, chance), chance, BEGAN)
    await database.close()
