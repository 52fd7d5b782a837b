"""One node, put together: every part is chosen here, and given what it needs."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from countwheel import __version__
from countwheel.api.app import build_app
from countwheel.api.audit_trail import AuditTrail
from countwheel.api.busy import BusyMinutes
from countwheel.api.contract import load_contract
from countwheel.api.creator import JobCreator
from countwheel.api.parts import ApiParts, ApiSettings
from countwheel.api.protocol import ConnectionLimits
from countwheel.api.quotas import QuotaKeeper
from countwheel.api.server import HttpServer
from countwheel.api.tls import ServerTls
from countwheel.auth import bootstrap
from countwheel.auth.bearer import BearerTokens, Federation
from countwheel.auth.callbacks import KEY_PURPOSE, CallbackTokens
from countwheel.auth.issuer import Issuer
from countwheel.auth.key_ring import KeyRing, kept_fresh
from countwheel.auth.oauth import TokenVerifier
from countwheel.auth.rights import Rights
from countwheel.auth.target_tokens import JobTokens
from countwheel.auth.trust_file import read_issuers
from countwheel.clock import Chance, Clock, SystemChance, SystemClock
from countwheel.config import Settings
from countwheel.delivery.guard import Guard, Hosts
from countwheel.delivery.sender import HttpSender, Sender
from countwheel.engine.alarm import kernel_alarm
from countwheel.engine.engine import ENGINE, Engine, EngineParts
from countwheel.engine.machine import machine_id, process_started
from countwheel.engine.settings import EngineSettings
from countwheel.store.database import Database
from countwheel.store.database_time import DatabaseClock
from countwheel.store.nodes import Identity
from countwheel.store.sealing import Sealer

ROLES = ("api", ENGINE)
"""What a node can do: answer the API, and call targets."""

_API_CONNECTIONS = 4
_LONG_READ_CONNECTIONS = 2


@asynccontextmanager
async def database_at(dsn: str, name: str, connections: int, *, behind_pooler: bool = False) -> AsyncIterator[Database]:
    """Lend a database until the block ends."""
    database = Database(dsn, name=name, size=connections, behind_pooler=behind_pooler)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def _beside(database: Database, name: str, connections: int) -> AbstractAsyncContextManager[Database]:
    return database_at(database.dsn, name, connections, behind_pooler=database.behind_pooler)


@asynccontextmanager
async def server(
    settings: Settings,
    database: Database,
    sealer: Sealer,
    listener: socket.socket,
    *,
    owns_database: bool,
    tls: ServerTls | None = None,
    roles: Sequence[str] = ROLES,
    on_engine: Callable[[Engine], None] = lambda _: None,
) -> AsyncIterator[HttpServer]:
    """Run the engine and the API; at the end both stop gracefully, the API last, so that it can tell how it goes.

    `on_engine` is given the engine before it starts.
    """
    clock, chance = SystemClock(), SystemChance()
    issuers = read_issuers(settings.issuers_file, own_issuer=settings.issuer_url, development=owns_database)
    guard = _guard(settings, listener, development=owns_database)
    sender = HttpSender(guard, connections=settings.concurrency, clock=clock)
    await bootstrap.ensure_tenant(database, sealer, chance, clock.now())
    keys = KeyRing(await bootstrap.ensure_issuer_keys(database, sealer, clock.now()))
    tokens = JobTokens(settings.issuer_url, keys, chance)
    engine = Engine(_engine_parts(settings, database, sealer, sender, tokens, roles=roles, owns_database=owns_database))
    on_engine(engine)
    # What nodes must agree on (is it past, is the token good) is judged by the database's clock, as the engine has it.
    database_clock = DatabaseClock(engine.database_time, clock)
    verifier = TokenVerifier(settings.issuer_url, settings.audience, keys, database_clock)
    # The API has connections of its own: a flood of requests must not keep the engine from the database.
    async with (
        _beside(database, "api", _API_CONNECTIONS) as api_database,
        _beside(database, "long reads", _LONG_READ_CONNECTIONS) as long_reads,
        Federation(issuers if "api" in roles else (), database_clock) as federation,
        kept_fresh(keys, api_database, sealer, database_clock),
    ):
        parts = ApiParts(
            database=api_database,
            long_reads=long_reads,
            clock=database_clock,
            chance=chance,
            sealer=sealer,
            contract=load_contract(),
            issuer=_issuer(settings, keys, database_clock, chance),
            bearer=BearerTokens(verifier, federation),
            rights=Rights(api_database, sealer, database_clock),
            audit_trail=AuditTrail(api_database),
            target_refusal=guard.url_refusal,
            callbacks=_callback_tokens(settings, sealer),
            creator=JobCreator(api_database),
            quotas=QuotaKeeper(api_database, database_clock),
            busy=BusyMinutes(api_database, database_clock, settings.busy_minute_runs),
            settings=_api_settings(settings, development=owns_database),
        )
        app = build_app(parts, health_only="api" not in roles)
        limits = ConnectionLimits(settings.max_connections, settings.head_seconds, settings.body_seconds)
        http = HttpServer(app, listener, limits, tls)
        await engine.start()
        try:
            async with http:
                try:
                    yield http
                finally:
                    await engine.stop()
        finally:
            await sender.close()


def _issuer(settings: Settings, keys: KeyRing, clock: Clock, chance: Chance) -> Issuer:
    lifetime_seconds = settings.token_lifetime_seconds
    return Issuer(settings.issuer_url, settings.audience, keys, clock, chance, token_lifetime_seconds=lifetime_seconds)


def _api_settings(settings: Settings, *, development: bool) -> ApiSettings:
    return ApiSettings(
        max_body_bytes=settings.max_body_bytes,
        require_idempotency_key=settings.require_idempotency_key,
        cancel_wait_seconds=settings.lease_seconds + 5.0,
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        development=development,
    )


def _guard(settings: Settings, listener: socket.socket, *, development: bool) -> Guard:
    """Make the guard. In development the server's own echo may be called, in production nothing of its own."""
    address, port = listener.getsockname()[:2]
    return Guard(
        settings.allowed_networks,
        allow_http=settings.allow_http_targets,
        denied=settings.denied_networks,
        hosts=Hosts(settings.allowed_hosts, settings.denied_hosts),
        listening=None if development else (address, port),
    )


def _engine_parts(
    settings: Settings,
    database: Database,
    sealer: Sealer,
    sender: Sender,
    tokens: JobTokens,
    *,
    roles: Sequence[str],
    owns_database: bool,
) -> EngineParts:
    return EngineParts(
        database=database,
        clock=SystemClock(),
        chance=SystemChance(),
        sender=sender,
        sealer=sealer,
        tokens=tokens,
        callbacks=_callback_tokens(settings, sealer),
        settings=EngineSettings(
            lease_seconds=settings.lease_seconds,
            lease_margin_seconds=settings.lease_seconds / 6,
            renew_every_seconds=settings.lease_seconds / 3,
            concurrency=settings.concurrency,
            stop_grace_seconds=settings.stop_grace_seconds,
            retention_days=settings.retention_days,
            audit_log_retention_days=settings.audit_log_retention_days,
            owns_database=owns_database,
        ),
        make_alarm=kernel_alarm,
        identity=Identity(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            roles=list(roles),
            machine=machine_id(),
            process_started=process_started(os.getpid()),
        ),
    )


def _callback_tokens(settings: Settings, sealer: Sealer) -> CallbackTokens:
    return CallbackTokens(sealer.derive_keys(KEY_PURPOSE), settings.issuer_url)
