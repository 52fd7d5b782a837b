"""What a benchmark runs on: PostgreSQL, `countwheel serve` and a sink, each in processes of its own, all as they ship.

Durable (fsync on, synchronous commit), with token, guard, signature and ledger. The data directory is fresh, and gone
when the block ends.
"""

import asyncio
import base64
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import psycopg

from benchmarks import receipts
from benchmarks.receipts import Receipt
from benchmarks.usage import Usage
from countwheel.auth import bootstrap
from countwheel.client import Countwheel
from countwheel.client.credentials import Credentials
from countwheel.clock import SystemChance, SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store import migrate
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer

CLIENTS = 32
_SECRET_KEY = bytes(range(32))
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.005
_SILENT_SECONDS = 10.0
"""How long nothing may arrive before what is missing is no longer waited for."""

_IS_ANY_LIVE = "SELECT EXISTS (SELECT FROM runs), clock_timestamp()"
# Whether one is live that was due by a moment: by the indexes that know, over millions of sleeping ones, too.
_IS_DUE_LIVE = """
    SELECT EXISTS (SELECT FROM runs WHERE node_id IS NOT NULL AND due_at <= to_timestamp(%(until)s))
        OR EXISTS (
            SELECT FROM runs
            WHERE bucket = ANY('{0,1,2,3,4,5,6,7}') AND node_id IS NULL AND NOT set_aside
              AND due_at <= to_timestamp(%(until)s)
        ),
        clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Sink:
    """The running receiver."""

    url: str
    pid: int
    file: Path
    session: aiohttp.ClientSession

    async def count(self) -> int:
        """Return how many calls have come since it was started; all of them are in its file then."""
        async with self.session.get(f"{self.url}/count") as response:
            return int(await response.read())

    async def wait_for(self, number: int) -> None:
        """Return when so many calls have come, or none has for a while. The nearer the end, the more often asked."""
        first = count = await self.count()
        began = changed = time.monotonic()
        while count < number and time.monotonic() - changed < _SILENT_SECONDS:
            rate = (count - first) / (time.monotonic() - began) if count > first else 1.0
            await asyncio.sleep(min(max((number - count) / rate / 2, _LOOK_SECONDS), 0.1))
            before, count = count, await self.count()
            changed = time.monotonic() if count != before else changed

    def receipts(self, since: int) -> Sequence[Receipt]:
        """Return what came after the first `since` calls."""
        return list(receipts.read(self.file, since))


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server and a running sink."""

    url: str
    sink: Sink
    token: str
    dsn: str
    session: aiohttp.ClientSession
    server_pid: int
    postgres_pid: int
    workers: int

    @property
    def sink_url(self) -> str:
        """Where the sink is called."""
        return self.sink.url

    async def create(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Create jobs, one a call, each with an idempotency key, as a number of clients would."""
        waiting = iter(jobs)
        headers = {"Authorization": f"Bearer {self.token}"}

        async def client() -> None:
            for job in waiting:
                keyed = headers | {"Idempotency-Key": f'"{uuid4()}"'}
                async with self.session.post(f"{self.url}/v1/jobs", json=job, headers=keyed) as response:
                    if response.status != 201:
                        raise RuntimeError(await response.text())
                    await response.read()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def tenant(self, name: str = bootstrap.DEFAULT_TENANT) -> UUID:
        """Return the tenant of a name, made where there is none."""
        database = Database(self.dsn, name="bench", size=1)
        await database.open()
        try:
            sealer = Sealer(_SECRET_KEY, SystemChance())
            return await bootstrap.ensure_tenant(database, sealer, SystemChance(), SystemClock().now(), name=name)
        finally:
            await database.close()

    async def usage(self) -> Usage:
        """Look at what has been used so far."""
        pids = {"nodes": self.server_pid, "postgres": self.postgres_pid, "sink": self.sink.pid}
        return await Usage.look(self.dsn, pids)


@asynccontextmanager
async def stage(
    *, workers: int = 1, module: str = "countwheel", postgres: Mapping[str, str] | None = None, **environment: str
) -> AsyncIterator[Stage]:
    """Run a server of `workers` nodes and a sink until the block ends.

    `postgres` are settings that win over those that ship, `environment` those of the nodes, and `module` is what is run
    in place of countwheel itself.
    """
    folder = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    database = EmbeddedPostgres(folder / "data", SystemClock(), progress=lambda _: None, settings=postgres)
    port, sink_port = free_port(), free_port()
    url, sink_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sink_port}"
    started: list[asyncio.subprocess.Process] = []
    try:
        dsn = await database.start()
        client_id, secret = await _make_schema(dsn)
        settings = {
            "COUNTWHEEL_PORT": str(port),
            "COUNTWHEEL_DATABASE_URL": dsn,
            "COUNTWHEEL_LOG_LEVEL": "warning",
            "COUNTWHEEL_SECRET_KEY": base64.b64encode(_SECRET_KEY).decode(),
            "COUNTWHEEL_ALLOWED_NETWORKS": "127.0.0.0/8",
            "COUNTWHEEL_ALLOW_HTTP_TARGETS": "true",
            **environment,
        }
        started.append(await start(module, "serve", "--workers", str(workers), environment=settings))
        started.append(await start("benchmarks.sink", str(sink_port), str(folder / "receipts"), until=b"listening"))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await _wait_until_ready(session, url, dsn, workers)
            token = await asyncio.to_thread(Countwheel(Credentials(url, client_id, secret)).fetch_token)
            sink = Sink(sink_url, started[1].pid, folder / "receipts", session)
            yield Stage(url, sink, token, dsn, session, started[0].pid, database.pid or 0, workers)
    finally:
        for process in started:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
        await database.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def wait_until_drained(dsn: str, until: float | None = None) -> float:
    """Return when no run is live any more; with `until`, none that was due by that moment and waits in no lane.

    The wall-clock moment at which that was seen.
    """
    asked = _IS_ANY_LIVE if until is None else _IS_DUE_LIVE
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            row = await (await connection.execute(asked, {"until": until})).fetchone()
            if row is not None and not row[0]:
                return float(row[1].timestamp())
            await asyncio.sleep(_LOOK_SECONDS)


async def start(
    module: str, *arguments: str, until: bytes = b"", environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start a module in a process of its own, and return when it has printed `until`, if anything is waited for."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COUNTWHEEL_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env=inherited | dict(environment or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if until else None,
        stderr=None,
    )
    while until and process.stdout is not None and until not in (line := await process.stdout.readline()):
        if not line:
            raise RuntimeError(f"{module} ended with {await process.wait()}")
    return process


async def _make_schema(dsn: str) -> tuple[str, str]:
    """Make the schema and an administrator; return the client's id and secret."""
    database = Database(dsn, name="bench", size=1)
    await database.open()
    try:
        async with database.connection() as connection:
            await migrate.apply_migrations(connection)
        sealer, chance = Sealer(_SECRET_KEY, SystemChance()), SystemChance()
        return await bootstrap.create_admin(database, sealer, chance, SystemClock().now())
    finally:
        await database.close()


async def _wait_until_ready(session: aiohttp.ClientSession, url: str, dsn: str, workers: int) -> None:
    """Return when every node has its lease and the API answers."""
    async with asyncio.timeout(_START_SECONDS), await psycopg.AsyncConnection.connect(dsn, autocommit=True) as looking:
        while not (await _has_nodes(looking, workers) and await _answers(session, url)):  # noqa: ASYNC110 (no event of ours)
            await asyncio.sleep(0.05)


async def _has_nodes(looking: psycopg.AsyncConnection, workers: int) -> bool:
    row = await (await looking.execute("SELECT count(*) FROM nodes")).fetchone()
    return row is not None and row[0] >= workers


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
