"""What a benchmark of production runs on: `countwheel serve` with workers on a fresh, durable PostgreSQL of its own."""

import asyncio
import base64
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage import free_port
from countwheel.auth import bootstrap
from countwheel.auth.principal import ALL_SCOPES
from countwheel.client import Countwheel
from countwheel.client.api import ApiError
from countwheel.client.credentials import Credentials
from countwheel.clock import SystemChance, SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store import migrate, partitions
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer

_SECRET_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Served:
    """A running deployment. `server_pid` is the supervisor's where there are several workers."""

    port: int
    token: str
    dsn: str
    server_pid: int
    postgres_pid: int


@asynccontextmanager
async def served(workers: int, **environment: str) -> AsyncIterator[Served]:
    """Run a deployment until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    postgres = EmbeddedPostgres(folder, SystemClock(), progress=lambda _: None)
    port = free_port()
    server: asyncio.subprocess.Process | None = None
    try:
        dsn = await postgres.start()
        credentials = await _prepare(dsn, f"http://127.0.0.1:{port}")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COUNTWHEEL_")}
        own = {
            "COUNTWHEEL_PORT": str(port),
            "COUNTWHEEL_DATABASE_URL": dsn,
            "COUNTWHEEL_SECRET_KEY": base64.b64encode(_SECRET_KEY).decode(),
            "COUNTWHEEL_ALLOWED_NETWORKS": "127.0.0.0/8",
            "COUNTWHEEL_ALLOW_HTTP_TARGETS": "true",
            "COUNTWHEEL_LOG_LEVEL": "warning",
        }
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "countwheel", "serve", "--workers", str(workers)),
            env=inherited | own | environment,
        )
        token = await _first_token(Countwheel(credentials), server)
        await _until_all_answer(dsn, workers)
        yield Served(port, token, dsn, server.pid, postgres.pid or 0)
    finally:
        if server is not None and server.returncode is None:
            server.terminate()
            await server.wait()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(dsn: str, url: str) -> Credentials:
    database, chance, now = Database(dsn, name="bench", size=1), SystemChance(), SystemClock().now()
    await database.open()
    async with database.connection() as connection:
        await migrate.apply_migrations(connection)
        await partitions.make_ahead(connection)
    await bootstrap.ensure_tenant(database, Sealer(_SECRET_KEY, chance), chance, now)
    client_id, secret = await bootstrap.create_client(database, chance, name="bench", scopes=ALL_SCOPES)
    await database.close()
    return Credentials(url, client_id, secret)


async def _first_token(client: Countwheel, server: asyncio.subprocess.Process) -> str:
    while server.returncode is None:
        try:
            return await asyncio.to_thread(client.fetch_token)
        except ApiError:  # it does not listen yet
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server ended with {server.returncode}")


async def _until_all_answer(dsn: str, workers: int) -> None:
    database = Database(dsn, name="bench", size=1)
    await database.open()
    try:
        async with database.connection() as connection:
            while True:
                row = await (await connection.execute("SELECT count(*) FROM nodes")).fetchone()
                if row is not None and row[0] >= workers:
                    return
                await asyncio.sleep(0.1)
    finally:
        await database.close()
