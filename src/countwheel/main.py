"""The composition root: reads the settings, chooses every part, wires them, and runs the whole until told to stop."""

import asyncio
import base64
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog
import uvloop

from countwheel import config
from countwheel.api.server import BACKLOG, HttpServer
from countwheel.api.tls import ServerTls, TlsError
from countwheel.assembly import ROLES, database_at, server
from countwheel.auth import bootstrap
from countwheel.auth.settings_table import TrustFileError
from countwheel.auth.trust_file import read_issuers
from countwheel.client.credentials import Credentials, CredentialsError, load, save
from countwheel.clock import SystemChance, SystemClock
from countwheel.config import SettingError, Settings
from countwheel.demo import schedule_demo
from countwheel.doctor.examine import examine
from countwheel.domain.audit import Scope
from countwheel.embedded.errors import EmbeddedPostgresError
from countwheel.embedded.lock import DataDirectoryInUseError, DataDirectoryLock
from countwheel.embedded.private_file import keep
from countwheel.embedded.running import dsn_of_running
from countwheel.greeting import greet, print_admin
from countwheel.logs import configure_logging
from countwheel.own_postgres import own_postgres
from countwheel.port import CannotListenError, allow_open_files, listen, server_tls
from countwheel.reports import AuditReport, DoctorReport
from countwheel.store import audit, clients, migrate, resealing, session
from countwheel.store.audit import Question
from countwheel.store.database import Database, DatabaseUnavailableError
from countwheel.store.sealing import KEY_BYTES, Sealer, WrongSecretKeyError
from countwheel.workers import Workers, supervisor_gone, worker_plan

_log = structlog.get_logger("countwheel")

_CANNOT_EXAMINE = 2
_WORKER_STOP_SECONDS = 30.0
"""How much longer than its calls under way a worker may take to stop."""


class CannotStartError(Exception):
    """What keeps the server from starting, and what to do about it."""


def run_dev(*, demo: bool) -> int:
    """Run `countwheel dev` and return its exit code."""
    return _run(lambda settings: _dev(settings, demo=demo), development=True)


def run_serve(*, roles: Sequence[str] = ROLES, workers: int = 1) -> int:
    """Run `countwheel serve` and return its exit code."""
    return _run(lambda settings: _serve(settings, roles, workers), development=False)


def run_migrate() -> int:
    """Run `countwheel db migrate` and return its exit code."""
    return _run(_migrate, development=False)


def run_audit(
    *, start: datetime | None, end: datetime | None, job_id: UUID | None, late_ms: float, report: AuditReport
) -> int:
    """Run `countwheel audit` and return its exit code."""
    return _run(
        lambda settings: _audit(settings, (start, end), job_id, timedelta(milliseconds=late_ms), report),
        development=False,
    )


def run_doctor(report: DoctorReport) -> int:
    """Run `countwheel doctor` and return its exit code."""
    code = _run(lambda settings: _doctor(settings, report), development=False)
    return code if report.is_complete else _CANNOT_EXAMINE


def run_bootstrap(*, force: bool) -> int:
    """Run `countwheel admin bootstrap` and return its exit code."""
    return _run(lambda settings: _bootstrap(settings, force=force), development=False)


def run_reseal() -> int:
    """Run `countwheel admin reseal` and return its exit code."""
    return _run(_reseal, development=False)


def run_status() -> int:
    """Run `countwheel db status` and return its exit code."""
    return _run(_status, development=False)


def _run(command: Callable[[Settings], Awaitable[int]], *, development: bool) -> int:
    """Read the settings, run a command, and turn what a person can mend into one line on standard error."""
    try:
        settings = config.read_settings(os.environ, development=development)
        configure_logging(settings.log_format, settings.log_level)
        for name in settings.unknown:
            _log.warning("unknown setting is ignored", name=config.PREFIX + name.upper())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_awaited(command(settings)))
    except (
        SettingError, CannotStartError, DataDirectoryInUseError, EmbeddedPostgresError, DatabaseUnavailableError,
        WrongSecretKeyError, CredentialsError, CannotListenError, TlsError, TrustFileError,
    ) as error:  # fmt: skip
        print(f"countwheel: {error}", file=sys.stderr)  # noqa: T201 (the terminal is where this belongs)
        return 1
    except KeyboardInterrupt:
        return 130


async def _awaited(result: Awaitable[int]) -> int:
    return await result


async def _dev(settings: Settings, *, demo: bool) -> int:
    data_dir = settings.data_dir.absolute()
    read_issuers(settings.issuers_file, own_issuer=settings.issuer_url, development=True)  # before anything starts
    tls = server_tls(settings)
    allow_open_files(settings)
    listener = listen(settings)
    stop = _stop_signal()
    with contextlib.closing(listener), DataDirectoryLock(data_dir):
        sealer = _sealer(settings, settings.secret_key or _kept_secret_key(data_dir))
        async with (
            own_postgres(settings, data_dir) as dsn,
            database_at(dsn, "engine", settings.database_connections) as database,
        ):
            async with database.connection() as connection:
                for step in await migrate.apply_migrations(connection):
                    _log.info("schema migrated", step=step.name)
            credentials = await _dev_client(settings, database, sealer, data_dir)
            async with server(settings, database, sealer, listener, owns_database=True, tls=tls) as http:
                _keep_what_is_there()
                greet(settings.url, data_dir)
                demonstration = asyncio.create_task(schedule_demo(credentials, SystemClock())) if demo else None
                await _until_stopped(stop, http)
                if demonstration is not None:
                    demonstration.cancel()
    return 0


async def _serve(settings: Settings, roles: Sequence[str], workers: int) -> int:
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise CannotStartError(f"--role {','.join(roles)}: give {' or '.join(ROLES)}, or both with a comma between")
    if workers < 1:
        raise CannotStartError(f"--workers {workers}: give 1 or more")
    if not settings.database_url:
        raise CannotStartError("COUNTWHEEL_DATABASE_URL is not set: give a PostgreSQL URL, or use `countwheel dev`")
    _required_key(settings)
    read_issuers(settings.issuers_file, own_issuer=settings.issuer_url)  # once, not in every worker
    tls = server_tls(settings)
    allow_open_files(settings)
    listener = listen(settings)
    stop = _stop_signal()
    with contextlib.closing(listener):
        async with _database_at_url(settings, "engine", settings.database_connections) as database:
            await _require_current_schema(database)
            if not settings.listener_fd:  # a worker's supervisor has said it
                await _say_what_sessions_lack(database)
                await _say_how_to_begin(database)
            if workers == 1:
                await _serve_here(settings, database, listener, stop, tls=tls, roles=roles)
                return 0
        listener.listen(BACKLOG)
        plan = worker_plan(roles, settings.stop_grace_seconds + _WORKER_STOP_SECONDS)
        _log.info("serving", url=settings.url, workers=workers)
        keeper = Workers(workers, plan, listener, SystemClock())
        if tls is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keeper.hang_up)
        return await keeper.run(stop)


async def _serve_here(
    settings: Settings,
    database: Database,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    tls: ServerTls | None,
    roles: Sequence[str],
) -> None:
    sealer = _sealer(settings, settings.secret_key)
    watching = asyncio.create_task(_stop_with_supervisor(stop)) if settings.listener_fd else None
    async with server(settings, database, sealer, listener, owns_database=False, tls=tls, roles=roles) as http:
        _keep_what_is_there()
        _log.info("serving", url=settings.url, roles=list(roles))
        await _until_stopped(stop, http)
    if watching is not None:
        watching.cancel()


def _keep_what_is_there() -> None:
    """Take what the start has made out of the garbage collector's rounds.

    Some 80,000 objects live as long as the process does. A full collection looks at each of them, and stops everything
    for 15 ms on an idle core, 40 ms on a busy one: the calls that are due meanwhile are late by that. What is made for
    a run is gone with it, without the collector's help: it need not look after every 700 objects, which took 5 to 10 %
    of a drain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _stop_with_supervisor(stop: asyncio.Event) -> None:
    await supervisor_gone()
    stop.set()


async def _require_current_schema(database: Database) -> None:
    async with database.connection() as connection:
        status = await migrate.read_status(connection)
    if not status.is_current:
        missing = ", ".join(map(str, status.missing))
        raise CannotStartError(f"the schema lacks migration {missing}: run `countwheel db migrate` first")


async def _say_how_to_begin(database: Database) -> None:
    async with database.connection() as connection:
        if not await clients.has_admin(connection):
            _log.warning("nobody can come in yet: make the first admin with `countwheel admin bootstrap`")


async def _say_what_sessions_lack(database: Database) -> None:
    if not database.behind_pooler:
        return
    async with database.connection() as connection:
        for name, value in (await session.find_others(connection)).items():
            _log.warning("the pooler's session is set otherwise: `countwheel db migrate`", setting=name, value=value)


async def _bootstrap(settings: Settings, *, force: bool) -> int:
    chance, now = SystemChance(), SystemClock().now()
    sealer = _sealer(settings, _required_key(settings))
    async with _database_at_url(settings, "admin", 1) as database:
        await _require_current_schema(database)
        try:
            client_id, secret = await bootstrap.create_admin(database, sealer, chance, now, beside_others=force)
        except bootstrap.AdminExistsError as error:
            raise CannotStartError("there is an admin already; with --force another one is made beside it") from error
    print_admin(client_id, secret, settings.issuer_url)
    return 0


async def _audit(
    settings: Settings,
    span: tuple[datetime | None, datetime | None],
    job_id: UUID | None,
    late_after: timedelta,
    report: AuditReport,
) -> int:
    dsn = settings.database_url or dsn_of_running(settings.data_dir.absolute())
    async with database_at(dsn, "audit", 1, behind_pooler=settings.is_behind_pooler) as database:
        await _require_current_schema(database)
        async with database.transaction() as connection:
            now = await audit.begin(connection)
            end = min(span[1] or now, now)
            start = span[0] or end - timedelta(days=1)
            if start >= end:
                raise CannotStartError("--from must be before --to")
            question = Question(Scope(start, end, now, late_after), job_id=job_id)
            report.begin(await audit.count_jobs(connection, question))
            async for answer in audit.audit_jobs(connection, question):
                report.take(answer)
    return report.end(start, end)


async def _doctor(settings: Settings, report: DoctorReport) -> int:
    dsn = settings.database_url or dsn_of_running(settings.data_dir.absolute())
    return report.show(await examine(settings, dsn, SystemClock(), default_sslmode=os.environ.get("PGSSLMODE", "")))


async def _migrate(settings: Settings) -> int:
    async with _database_at_url(settings, "db", 1) as database, database.connection() as connection:
        applied = await migrate.apply_migrations(connection)
        if settings.is_behind_pooler:
            await session.keep_with_role(connection)
    for step in applied:
        print(f"applied {step.name}")  # noqa: T201 (the command's output)
    if not applied:
        print("the schema is up to date")  # noqa: T201 (the command's output)
    return 0


async def _status(settings: Settings) -> int:
    async with _database_at_url(settings, "db", 1) as database, database.connection() as connection:
        status = await migrate.read_status(connection)
    for step in migrate.known_migrations():
        mark = "missing" if step.version in status.missing else "applied"
        print(f"{mark}  {step.name}")  # noqa: T201 (the command's output)
    if not status.is_current:
        print("run `countwheel db migrate`")  # noqa: T201 (the command's output)
    return 0 if status.is_current else 1


async def _reseal(settings: Settings) -> int:
    sealer = _sealer(settings, _required_key(settings))
    async with _database_at_url(settings, "admin", 2) as database:
        await _require_current_schema(database)
        seen, changed = await resealing.reseal(database, sealer)
    print(f"{changed} of {seen} secrets were sealed anew: all are under COUNTWHEEL_SECRET_KEY now")  # noqa: T201
    return 0


def _sealer(settings: Settings, key: bytes) -> Sealer:
    return Sealer(key, SystemChance(), previous=settings.previous_secret_keys)


def _required_key(settings: Settings) -> bytes:
    if not settings.secret_key:
        raise CannotStartError(
            "neither COUNTWHEEL_SECRET_KEY nor COUNTWHEEL_SECRET_KEY_FILE is set: "
            "make a key with `openssl rand -base64 32` and keep it safe"
        )
    return settings.secret_key


def _required_url(settings: Settings) -> str:
    if not settings.database_url:
        raise CannotStartError("COUNTWHEEL_DATABASE_URL is not set: give a PostgreSQL URL")
    return settings.database_url


def _database_at_url(settings: Settings, name: str, connections: int) -> AbstractAsyncContextManager[Database]:
    return database_at(_required_url(settings), name, connections, behind_pooler=settings.is_behind_pooler)


async def _dev_client(settings: Settings, database: Database, sealer: Sealer, data_dir: Path) -> Credentials:
    """Make the development client on the first start; keep its credentials and our URL in the data directory."""
    await bootstrap.ensure_tenant(database, sealer, SystemChance(), SystemClock().now())
    client_id, secret = await _known_client(database, data_dir) or await bootstrap.create_client(
        database, SystemChance(), name="development"
    )
    credentials = Credentials(settings.url, client_id, secret)
    save(data_dir, credentials)
    return credentials


async def _known_client(database: Database, data_dir: Path) -> tuple[str, str] | None:
    """Return the kept credentials if this database knows them: the file may be older than the cluster beside it."""
    try:
        kept = load(data_dir)
    except CredentialsError:
        return None
    async with database.connection() as connection:
        known = await clients.find(connection, kept.client_id)
    return (kept.client_id, kept.client_secret) if known is not None else None


def _kept_secret_key(data_dir: Path) -> bytes:
    return base64.b64decode(keep(data_dir / "secret.key", base64.b64encode(SystemChance().token_bytes(KEY_BYTES))))


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _until_stopped(stop: asyncio.Event, http: HttpServer) -> None:
    waiting = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(http.wait_ended())
    await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, ended):
        task.cancel()
    _log.info("stopping: no more claims, calls under way are waited for")
