"""Secrets by name: values that a tenant's calls need and that nobody may read back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class SecretRow:
    """What may be known of a secret."""

    name: str
    version: int
    created_at: datetime
    updated_at: datetime


async def put(connection: Connection, sealer: Sealer, tenant_id: UUID, name: str, value: str) -> bool:
    """Make a secret or give it another value. Returns whether it is new."""
    sealed = sealer.seal(value.encode(), _belongs_to(tenant_id, name))
    parameters = {"tenant_id": tenant_id, "name": name, "sealed": sealed}
    row = await (await connection.execute(query("put_secret"), parameters)).fetchone()
    return bool(row and row[0])


async def read(
    connection: Connection, tenant_id: UUID, *, name: str | None = None, after: str | None = None, limit: int = 1
) -> list[SecretRow]:
    """Return a page of a tenant's secrets by name, or the one of a name, without their values."""
    cursor = connection.cursor(row_factory=args_row(SecretRow))
    parameters = {"tenant_id": tenant_id, "name": name, "after": after, "limit": limit}
    await cursor.execute(query("read_secrets"), parameters)
    return await cursor.fetchall()


async def open_all(connection: Connection, sealer: Sealer, tenant_id: UUID, names: Iterable[str]) -> dict[str, str]:
    """Return the values of those of these secrets that there are. Raises `WrongSecretKeyError` under another key."""
    cursor = await connection.execute(query("open_secrets"), {"tenant_id": tenant_id, "names": list(names)})
    return {row[0]: sealer.open(row[1], _belongs_to(tenant_id, row[0])).decode() async for row in cursor}


async def find_missing(connection: Connection, tenant_id: UUID, names: Iterable[str]) -> frozenset[str]:
    """Return which of these names no secret has."""
    wanted = frozenset(names)
    cursor = await connection.execute(query("open_secrets"), {"tenant_id": tenant_id, "names": list(wanted)})
    return wanted - {row[0] async for row in cursor}


async def is_named(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Whether a job that has not ended names a secret."""
    cursor = await connection.execute(query("names_secret"), {"tenant_id": tenant_id, "name": name})
    return await cursor.fetchone() is not None


async def delete(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Delete a secret. Returns whether there was one."""
    cursor = await connection.execute(query("delete_secret"), {"tenant_id": tenant_id, "name": name})
    return cursor.rowcount == 1


def _belongs_to(tenant_id: UUID, name: str) -> str:
    return f"secret {name} of tenant {tenant_id}"
