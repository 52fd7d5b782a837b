"""What tests share: a whole node in this process, a whole server in another, and clients that speak to them."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import aiohttp
import psycopg

from countwheel import assembly
from countwheel.auth import bootstrap
from countwheel.auth.principal import ALL_SCOPES
from countwheel.client import Countwheel
from countwheel.client.credentials import load
from countwheel.clock import SystemChance, SystemClock
from countwheel.config import Settings
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.engine.engine import Engine
from countwheel.store.database import Connection, Database
from countwheel.store.sealing import Sealer

SECRET_KEY = bytes(range(32))
TEMPLATE = "countwheel"
"""The database that holds the schema and a tenant: each test gets a copy."""

_NUMBERS = count(1)
_DONE_WITH: list[str] = []
START_SECONDS = _STOP_SECONDS = 60
"""How long a process may take: a machine that is full needs 20 s for what takes one."""

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@contextmanager
def fresh_database(cluster: EmbeddedPostgres, template: str = TEMPLATE) -> Iterator[str]:
    """Lend a database made from a template: by default one with the schema and a tenant."""
    name = f"test_{next(_NUMBERS)}"
    maintenance = cluster.dsn.replace("dbname='countwheel'", "dbname='postgres'")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        # What is done with is dropped only now: its connections have gone meanwhile, and nobody waits for them. (The
        # last one goes with the cluster.) Copied as files: without fsync that takes a fifth of the time.
        while _DONE_WITH:
            connection.execute(f"DROP DATABASE {_DONE_WITH.pop()} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield cluster.dsn.replace("dbname='countwheel'", f"dbname='{name}'")
    _DONE_WITH.append(name)


FAR_RETRY = {"first_delay_seconds": 3600, "max_delay_seconds": 3600, "jitter": "none"}
"""A job's retry policy for a test that looks at a run between two attempts: the second one does not come by itself.
With the default the back-off may be a few milliseconds, and the run over before it is looked at."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """Speaks to a server over HTTP as one client of one tenant."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self.session = session
        self.url = url
        self.token = token

    async def call(self, method: str, path: str, body: Any = None, headers: Any = None, data: Any = None) -> Answer:
        sent = list(dict(headers).items()) if isinstance(headers, dict) else list(headers or [])
        names = {name.lower() for name, _ in sent}
        if self.token is not None and "authorization" not in names:
            sent.append(("Authorization", f"Bearer {self.token}"))
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None and "content-type" not in names:
            sent.append(("Content-Type", "application/json"))
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, allow_redirects=False, skip_auto_headers=("Content-Type",)
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def create(self, **fields: Any) -> dict[str, Any]:
        """Create a job and return it; fails unless it is created."""
        answer = await self.call("POST", "/v1/jobs", fields)
        assert answer.status == 201, answer.body
        created: dict[str, Any] = answer.json
        return created

    async def run(self, job: dict[str, Any], run_id: str | None = None) -> dict[str, Any]:
        """Return a run, by default the first one of a job."""
        run_id = run_id or job["next_run"]["run_id"]
        answer = await self.call("GET", f"/v1/jobs/{job['job_id']}/run/{run_id}/")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    async def run_when(self, job: dict[str, Any], *statuses: str, run_id: str | None = None) -> dict[str, Any]:
        """Return a run as soon as it has one of these statuses."""
        async with asyncio.timeout(20):
            while True:
                found = await self.run(job, run_id)
                if found["status"] in statuses:
                    return found
                await SystemClock().sleep(0.02)


class Node:
    """A whole server in this process."""

    def __init__(self, url: str, engine: Engine, database: Database, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.engine = engine
        self.database = database
        self._session = session
        self.api = Api(session, url, None)

    async def client(self, *, tenant: str = "default", scopes: frozenset[str] = ALL_SCOPES) -> Api:
        """Return an API client with a token of its own, for a tenant that is made where there is none."""
        sealer, chance, now = Sealer(SECRET_KEY, SystemChance()), SystemChance(), SystemClock().now()
        await bootstrap.ensure_tenant(self.database, sealer, chance, now, name=tenant)
        client_id, secret = await bootstrap.create_client(
            self.database, chance, name="test", tenant=tenant, scopes=scopes
        )
        return await self.with_credentials(client_id, secret)

    async def with_credentials(self, client_id: str, secret: str, **form: str) -> Api:
        """Return an API client with a token for these credentials; `form` is what else is asked for (`scope`)."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret} | form
        async with self._session.post(f"{self.url}/oauth/token", data=form) as response:
            assert response.status == 200, await response.text()
            token = (await response.json())["access_token"]
        return Api(self._session, self.url, token)

    @property
    def nobody(self) -> Api:
        """An API client without credentials."""
        return Api(self._session, self.url, None)


@asynccontextmanager
async def running_node(dsn: str, *, roles: Sequence[str] = assembly.ROLES, **changes: Any) -> AsyncIterator[Node]:
    """Run a node on a database until the block ends; it stops gracefully. `changes` are settings."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = replace(
        Settings(port=port, allowed_networks=LOOPBACK, allow_http_targets=True, lease_seconds=3.0), **changes
    )
    sealer = Sealer(SECRET_KEY, SystemChance())
    database = Database(dsn, name="engine", size=settings.database_connections)
    await database.open()
    engines: list[Engine] = []
    async with aiohttp.ClientSession() as session:
        try:
            async with assembly.server(
                settings, database, sealer, listener, owns_database=False, roles=roles, on_engine=engines.append
            ):
                node = Node(f"http://127.0.0.1:{port}", engines[0], database, session)
                node.api = await node.client()
                yield node
        finally:
            await database.close()
            listener.close()


class DevServer:
    """`countwheel dev` in a process of its own, which can be killed for real."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        port: int | None = None,
        module: str = "countwheel",
        **environment: str,
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._module = module
        self._environment = environment
        self.process: asyncio.subprocess.Process | None = None
        self.output = b""

    async def start(self) -> None:
        """Start, and return when it has said that it is running."""
        environment = (
            clean_environment()
            | {
                "COUNTWHEEL_PORT": str(self.port),
                "COUNTWHEEL_DATA_DIR": str(self.data_dir),
                "PYTHONPATH": str(Path(__file__).parent / "faults"),
            }
            | self._environment
        )
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module, "dev", *self._arguments),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.output = b""
        async with asyncio.timeout(START_SECONDS):
            while b"See it arrive" not in self.output:
                line = await self.process.stdout.readline()
                self.output += line
                if not line:
                    code = await self.process.wait()
                    raise AssertionError(f"countwheel dev ended with {code}:\n{self.output.decode()}")

    async def kill(self) -> None:
        """kill -9, and return when the process is gone."""
        assert self.process is not None
        with suppress(ProcessLookupError):  # it may have killed itself meanwhile
            self.process.send_signal(signal.SIGKILL)
        await self._ended()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it gracefully and return its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self._ended()

    def client(self) -> Countwheel:
        """Return an SDK client with the development credentials."""
        return Countwheel(load(self.data_dir))

    async def _ended(self) -> int:
        assert self.process is not None
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                rest, _ = await self.process.communicate()
        except TimeoutError:
            self.process.kill()
            await self.process.communicate()
            raise
        self.output += rest
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def dev_server(data_dir: Path, *arguments: str, **environment: str) -> AsyncIterator[DevServer]:
    """Run `countwheel dev` until the block ends, however it ends."""
    server = DevServer(data_dir, *arguments, **environment)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def database_of(dsn: str) -> dict[str, str]:
    """Return the settings that lead a node to a database."""
    return {"COUNTWHEEL_DATABASE_URL": dsn}


class ServeNode:
    """`countwheel serve` in a process of its own, one node of several on a database, until the block ends."""

    def __init__(self, dsn: str, *, arguments: Sequence[str] = (), **environment: str) -> None:
        self._arguments = arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = (
            {
                "COUNTWHEEL_PORT": str(self.port),
                "COUNTWHEEL_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
                "COUNTWHEEL_ALLOWED_NETWORKS": ",".join(map(str, LOOPBACK)),
                "COUNTWHEEL_ALLOW_HTTP_TARGETS": "true",
                "COUNTWHEEL_LEASE_SECONDS": "3",
            }
            | database_of(dsn)
            | environment
        )
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start, and return when it says that it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "countwheel", "serve", *self._arguments),
            env=clean_environment() | self._environment,
            stdin=asyncio.subprocess.DEVNULL,
        )
        await eventually(self._is_ready, START_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the node, and to nothing else."""
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self) -> int:
        """Return the exit code when it has ended; after a while it is killed."""
        assert self.process is not None
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self.process.wait()
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()

    async def stop(self) -> None:
        """End it if it runs, ready or not, frozen or not."""
        if self.process is not None and self.process.returncode is None:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)
            await self.end()

    async def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, "countwheel serve ended by itself: see its output"
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def soon(seconds: float = 1.0) -> str:
    """Return the instant `seconds` from now, as RFC 3339 with milliseconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")  # noqa: TID251


async def tenant_of(node: Node, api: Api) -> UUID:
    """Return the tenant of a client."""
    job = await api.create(schedule_oneoff="2190-01-01T00:00:00Z", job_url="http://127.0.0.1:9/")
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT tenant_id FROM jobs WHERE job_id = %s", [job["job_id"]])
        found: UUID = (await cursor.fetchone() or (UUID(int=0),))[0]
        return found


async def flood(
    connection: Connection,
    tenant_id: UUID,
    count: int,
    url: str,
    *,
    flow: str | None = None,
    timeout_seconds: float = 30.0,
    max_attempts: int = 5,
) -> None:
    """Make one-off jobs of a tenant that were due a second ago, each a millisecond after the one before."""
    await connection.execute(
        "WITH made AS (INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, "
        "timeout_seconds, max_attempts, created_at, updated_at, calling) SELECT gen_random_uuid(), %(tenant_id)s, "
        "'ACTIVE', 'then', %(url)s, '127.0.0.1', json_build_object('number', n)::text, %(timeout_seconds)s, "
        "%(max_attempts)s, now(), now(), %(calling)s FROM generate_series(1, %(count)s) AS n "
        "RETURNING job_id, tenant_id, (job_payload::json->>'number')::int AS n) "
        "INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at) "
        "SELECT job_id, gen_random_uuid(), tenant_id, (random() * 7)::int, 'schedule', 'SCHEDULED', "
        "at + n * interval '1 ms', at + n * interval '1 ms' "
        "FROM made, date_trunc('milliseconds', now() - %(count)s * interval '1 ms' - interval '1 s') AS at",
        {
            "tenant_id": tenant_id,
            "count": count,
            "url": url,
            "calling": None if flow is None else json.dumps({"flow": flow}),
            "timeout_seconds": timeout_seconds,
            "max_attempts": max_attempts,
        },
    )


async def passed(database: Database, moment: datetime) -> None:
    """Return when the database's clock has passed a moment."""

    async def has_passed() -> bool:
        async with database.connection() as connection:
            row = await (await connection.execute("SELECT clock_timestamp() > %s", [moment])).fetchone()
        return bool(row and row[0])

    await eventually(has_passed)


async def seen_within(seconds: float, expected: Any, look: Callable[[], Any]) -> None:
    """Return when `look` (async) sees what is expected. No look that was begun later than `seconds` from now may see
    anything else: how long looks take, and the machine stalls, does not count.
    """
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while True:
        begun = clock.monotonic()
        if (seen := await look()) == expected:
            return
        assert begun < deadline, f"{begun - deadline:.1f} s later than {seconds} s it is still {seen}"
        await clock.sleep(0.02)


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return what an async `condition` returns as soon as it is true; it is asked again and again."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await SystemClock().sleep(0.02)
        return found


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    output: str
    errors: str


async def run_command(*arguments: str, seconds: float = 60.0, **environment: str) -> Ended:
    """Run `countwheel ...` to its end, in an environment without settings but these."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "countwheel", *arguments),
        env=clean_environment() | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


def clean_environment() -> dict[str, str]:
    """Return this process's environment without any setting of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUNTWHEEL_")}


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """Return the processes that `pid` has started, and those that they have started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, fresh = set[int](), {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found
