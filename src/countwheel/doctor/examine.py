"""Looking at a deployment: the one step of the doctor that touches files and the database."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from countwheel import __version__
from countwheel.api.tls import TlsError, read_expiry
from countwheel.auth.settings_table import TrustFileError
from countwheel.auth.trust_file import read_issuers
from countwheel.clock import Clock
from countwheel.config import Settings
from countwheel.doctor.database import judge_deployment, judge_durability, judge_pooled, judge_schema, judge_session
from countwheel.doctor.finding import Finding, doubtful, good, unsafe
from countwheel.doctor.settings import (
    CertificateSeen,
    DatabaseAddress,
    FileSeen,
    judge_address,
    judge_certificate,
    judge_files,
    judge_issuers,
    judge_settings,
    of_unknown,
)
from countwheel.store import durability, inspection, migrate
from countwheel.store.database import Connection, Database, DatabaseUnavailableError
from countwheel.store.session import find_others

_KEPT_IN_DEVELOPMENT = ("secret.key", "client.json", "postgres.password")


async def examine(settings: Settings, dsn: str, clock: Clock, *, default_sslmode: str = "") -> list[Finding]:
    """Return everything that was looked at. `dsn` is the database's, which is that of a development server where the
    settings name none; `default_sslmode` is what libpq takes where the string has none (PGSSLMODE).
    """
    development = not settings.database_url
    if development:
        why = "loopback and plain http may be called there, and one client with every right is made by itself"
        found = [doubtful("development", "this is `countwheel dev`", why, "use `countwheel serve` for what matters")]
        found.append(of_unknown(settings.unknown))
    else:
        found = list(judge_settings(settings))
    found += judge_files(_look_at_files(settings, development=development))
    found += _of_issuers(settings, development=development)
    found += _of_certificate(settings, clock.now())
    return found + await _of_database(
        dsn, clock, default_sslmode, development=development, behind_pooler=settings.is_behind_pooler
    )


def _look_at_files(settings: Settings, *, development: bool) -> Iterator[FileSeen]:
    for name in ("config", "secret_key_file", "tls_key_file"):
        path: Path | None = getattr(settings, name)
        if path is not None:
            yield _look_at(name, path)
    if development:
        for kept in _KEPT_IN_DEVELOPMENT:
            yield _look_at("data_dir", settings.data_dir / kept)


def _look_at(setting: str, path: Path) -> FileSeen:
    try:
        return FileSeen(setting, str(path), path.stat().st_mode)
    except OSError:
        return FileSeen(setting, str(path), None)


def _of_issuers(settings: Settings, *, development: bool) -> list[Finding]:
    try:
        trusted = read_issuers(settings.issuers_file, own_issuer=settings.issuer_url, development=development)
    except TrustFileError as error:
        return [unsafe("issuers", str(error), "no node starts with it", "correct COUNTWHEEL_ISSUERS_FILE")]
    return list(judge_issuers([entry.issuer for entry in trusted]))


def _of_certificate(settings: Settings, now: datetime) -> list[Finding]:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return []
    try:
        seen = CertificateSeen("", read_expiry(settings.tls_cert_file, settings.tls_key_file))
    except TlsError as error:
        seen = CertificateSeen(str(error), None)
    return [judge_certificate(seen, now)]


async def _of_database(
    dsn: str, clock: Clock, default_sslmode: str, *, development: bool, behind_pooler: bool
) -> list[Finding]:
    target = inspection.read_target(dsn)
    if target is None:
        why = "no node starts with it"
        remedy = "give postgresql://USER@HOST/DATABASE, with every special character of a password %-encoded"
        return [unsafe("database-url", "COUNTWHEEL_DATABASE_URL cannot be read", why, remedy)]
    found = [judge_address(DatabaseAddress(target.is_remote, target.sslmode or default_sslmode))]
    database = Database(dsn, name="doctor", size=1, behind_pooler=behind_pooler)
    await database.open()
    try:
        async with database.connection() as connection:
            found.append(good("database-reachable", "it answers"))
            found += await _of_connection(connection, clock, development=development)
            if behind_pooler:
                found.append(judge_pooled(await find_others(connection)))
    except DatabaseUnavailableError as error:
        why = "nothing can be scheduled, and nothing else of it could be looked at"
        found.append(unsafe("database-reachable", str(error), why, "start it, or correct COUNTWHEEL_DATABASE_URL"))
    finally:
        await database.close()
    return found


async def _of_connection(connection: Connection, clock: Clock, *, development: bool) -> list[Finding]:
    before = clock.now()
    session = await inspection.inspect_session(connection)
    now = before + (clock.now() - before) / 2
    status = await migrate.read_status(connection)
    found = list(judge_session(session, now, development=development))
    found += judge_durability(await durability.find_warnings(connection))
    found.append(judge_schema(status.missing))
    if status.is_current:
        deployment = await inspection.inspect_deployment(connection)
        found += judge_deployment(deployment, session.now, version=__version__, development=development)
    return found
