"""PostgreSQL, nodes and the sink, each a process: started, hurt, healed, and always ended, by pid."""

import asyncio
import base64
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import psycopg

from chaos import mutations
from chaos.clients import Clients
from chaos.node import set_offset
from chaos.proxy import Proxy
from countwheel.auth import bootstrap
from countwheel.clock import SystemChance, SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store import migrate
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer

LEASE_SECONDS = 3.0
_ROOT = Path(__file__).parents[1]
_SECRET_KEY = bytes(range(32))
_START_SECONDS = 60.0


class NodeProcess:
    """One node that can be killed, frozen and stepped."""

    def __init__(
        self, number: int, folder: Path, dsn: str, mutation: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = f"node-{number}"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._clock = folder / f"{self.name}.clock"
        self._log = folder / f"{self.name}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COUNTWHEEL_")},
            "COUNTWHEEL_PORT": str(self.port),
            "COUNTWHEEL_PUBLIC_URL": "http://countwheel.test",  # one issuer, whichever node gives the token
            "COUNTWHEEL_DATABASE_URL": dsn,
            "COUNTWHEEL_SECRET_KEY": base64.b64encode(_SECRET_KEY).decode(),
            "COUNTWHEEL_ALLOWED_NETWORKS": "127.0.0.0/8",
            "COUNTWHEEL_ALLOW_HTTP_TARGETS": "true",
            "COUNTWHEEL_LEASE_SECONDS": str(LEASE_SECONDS),
            "COUNTWHEEL_LOG_LEVEL": "info",
            "PYTHONPATH": str(_ROOT),
            "CHAOS_CLOCK": str(self._clock),
            "CHAOS_MUTATION": mutation,
            "CHAOS_BLIND": "1" if number % 2 == 0 else "",
            **(environment or {}),
        }
        self.process: asyncio.subprocess.Process | None = None
        self.step_clock(0.0)

    async def start(self) -> None:
        """Start, and return when it answers that it is ready."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chaos.node", "serve"),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                if self.process.returncode is not None:  # the database was away: again
                    return await self.start()
                await asyncio.sleep(0.05)
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is anybody to receive it."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """kill -9, and return when it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Return the exit code when it has ended."""
        return 0 if self.process is None else await self.process.wait()

    def step_clock(self, seconds: float) -> None:
        """Set how far its wall clock is off."""
        set_offset(self._clock, seconds)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


class Cast:
    """Nodes and a sink, on a database that somebody else runs."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[NodeProcess] = []
        self.sink: asyncio.subprocess.Process | None = None
        self.sink_url = ""
        self.credentials = ("", "")
        self.receipts_file = folder / "receipts.jsonl"
        self._folder = folder

    async def enter(
        self, dsn: str, *, seed: int, nodes: int, mutation: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the sink and the nodes, in a schema that is there."""
        self.sink, self.sink_url = await start_sink(self.receipts_file, seed)
        self.nodes = [NodeProcess(number + 1, self._folder, dsn, mutation, environment) for number in range(nodes)]
        await asyncio.gather(*(node.start() for node in self.nodes))

    def clients(self, random: Random) -> Clients:
        """Return clients of these nodes, who ask for calls of this sink."""
        return Clients(
            lambda: [node.url for node in self.nodes],
            self.credentials,
            self.sink_url,
            random,
            receipts_file=self.receipts_file,
        )

    async def leave(self) -> None:
        """End everything, at once."""
        for node in self.nodes:
            node.send(signal.SIGKILL)
        for process in [node.process for node in self.nodes] + [self.sink]:
            if process is not None:
                if process.returncode is None:
                    process.kill()
                await process.wait()


class Stage(Cast):
    """Everything that a round plays on."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres, proxy: Proxy) -> None:
        super().__init__(folder)
        self.postgres = postgres
        self.proxy = proxy
        self._supervisor: asyncio.Task[None] | None = None

    async def restart_database(self) -> None:
        """Stop PostgreSQL as an operator does, and start it again."""
        await self._leave_alone()
        await self.postgres.stop()
        await self.postgres.start()
        self._watch()

    async def crash_database(self) -> None:
        """kill -9 of PostgreSQL; its supervisor starts it again. Returns when it takes connections."""
        before = self.postgres.pid
        if before is None:
            return
        os.kill(before, signal.SIGKILL)
        while not await self._answers() or self.postgres.pid in {before, None}:
            await asyncio.sleep(0.05)

    def _watch(self) -> None:
        self._supervisor = asyncio.create_task(self.postgres.supervise())

    async def _leave_alone(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)

    async def _answers(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self.postgres.dsn, connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    async def prepare(self, *, seed: int, nodes: int, mutation: str, environment: Mapping[str, str]) -> None:
        """Make the schema, a client, the sink and the nodes."""
        self._watch()
        await self.proxy.start()
        self.credentials = await make_schema(self.postgres.dsn, mutation)
        dsn = f"{self.postgres.dsn} host=127.0.0.1 port={self.proxy.port}"
        await self.enter(dsn, seed=seed, nodes=nodes, mutation=mutation, environment=environment)

    async def clear(self) -> None:
        """End everything."""
        await self.leave()
        await self.proxy.stop()
        await self._leave_alone()
        await self.postgres.stop()


async def make_schema(dsn: str, mutation: str) -> tuple[str, str]:
    """Make the schema and a tenant, and return the credentials of a client."""
    database = Database(dsn, name="chaos", size=1)
    await database.open()
    async with database.connection() as connection:
        await migrate.apply_migrations(connection)
        for statement in mutations.SCHEMA.get(mutation, ()):
            await connection.execute(statement.encode())
    sealer, chance = Sealer(_SECRET_KEY, SystemChance()), SystemChance()
    await bootstrap.ensure_tenant(database, sealer, chance, SystemClock().now())
    credentials = await bootstrap.create_client(database, chance, name="chaos")
    await database.close()
    return credentials


async def start_sink(receipts: Path, seed: int) -> tuple[asyncio.subprocess.Process, str]:
    """Start the target, and return it with its URL."""
    return await start_target("chaos.sink", str(receipts), str(seed))


async def start_target(module: str, *arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start a module that is called, and prints its port first; return its process with its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdout is None:
        raise RuntimeError(f"{module} says nothing")
    return process, f"http://127.0.0.1:{int(await process.stdout.readline())}"


@asynccontextmanager
async def stage(*, seed: int, nodes: int = 3, mutation: str = "", **environment: str) -> AsyncIterator[Stage]:
    """Lend a stage until the block ends, however it ends. `environment` is for the nodes."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-chaos-"))
    postgres = EmbeddedPostgres(folder / "data", SystemClock(), progress=lambda _: None)
    socket_path = folder / "data" / "socket" / ".s.PGSQL.5432"
    built = Stage(folder, postgres, Proxy(lambda: socket_path, Random(seed)))
    try:
        await postgres.start()
        await built.prepare(seed=seed, nodes=nodes, mutation=mutation, environment=environment)
        yield built
    finally:
        await built.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
