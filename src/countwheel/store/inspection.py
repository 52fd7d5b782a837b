"""What can be seen of a deployment in its database, for whoever judges whether it is safe."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

import psycopg
from psycopg.conninfo import conninfo_to_dict

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class Session:
    """How the database sees us."""

    role: str
    is_superuser: bool
    uses_tls: bool
    is_remote: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """How it is run. `node_versions` are those of living nodes."""

    node_versions: tuple[str, ...]
    newest_issuer_key_at: datetime | None
    development_clients: int
    has_admin: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection string leads. `sslmode` is empty where it asks for none."""

    is_remote: bool
    sslmode: str


def read_target(dsn: str) -> Target | None:
    """Return where a connection string leads; None where it cannot be read. (What libpq says of it may quote it.)"""
    try:
        parts = conninfo_to_dict(dsn)
    except (psycopg.ProgrammingError, UnicodeError):
        return None
    hosts = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    return Target(any(map(_is_remote, hosts)), str(parts.get("sslmode") or ""))


async def inspect_session(connection: Connection) -> Session:
    """Return how the database sees this connection."""
    row = await (await connection.execute(query("inspect_session"))).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    return Session(*row)


async def inspect_deployment(connection: Connection) -> Deployment:
    """Return how the deployment is run. The schema must be up to date."""
    row = await (await connection.execute(query("inspect_deployment"))).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    return Deployment(tuple(row[0]), *row[1:])


def _is_remote(host: str) -> bool:
    """Whether a host is on another machine; a path is a socket on this one, and so is libpq's default."""
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
