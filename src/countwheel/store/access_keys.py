"""Access keys: what principals sign requests with. A secret is kept sealed, and shown once, by whoever makes it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer

MOST_ACTIVE = 2
"""Of a principal: one in use, and the one that takes its place (criterion A8)."""


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """A key with its secret in clear."""

    access_key_id: str
    principal_id: UUID
    tenant_id: UUID
    secret: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccessKeyRow:
    """What may be known of a key."""

    access_key_id: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def belongs_to(access_key_id: str, tenant_id: UUID) -> str:
    """Return what a key's secret is bound to: it opens for no other key and no other tenant."""
    return f"access key {access_key_id} of tenant {tenant_id}"


async def create(connection: Connection, sealer: Sealer, key: NewAccessKey) -> datetime | None:
    """Write a key down, and return when; None where its principal has as many as it may.

    Must run in a transaction that has locked the principal.
    """
    cursor = await connection.execute(query("count_active_keys"), {"principal_id": key.principal_id})
    count = await cursor.fetchone()
    if count is None or count[0] >= MOST_ACTIVE:
        return None
    parameters = {
        "access_key_id": key.access_key_id,
        "principal_id": key.principal_id,
        "tenant_id": key.tenant_id,
        "sealed": sealer.seal(key.secret.encode(), belongs_to(key.access_key_id, key.tenant_id)),
        "expires_at": key.expires_at,
    }
    row = await (await connection.execute(query("create_access_key"), parameters)).fetchone()
    return None if row is None else row[0]


async def read(connection: Connection, tenant_id: UUID, principal_id: UUID) -> list[AccessKeyRow]:
    """Return the keys of a principal, newest first, those that are revoked too."""
    cursor = connection.cursor(row_factory=args_row(AccessKeyRow))
    await cursor.execute(query("read_access_keys"), {"tenant_id": tenant_id, "principal_id": principal_id})
    return await cursor.fetchall()


async def revoke(connection: Connection, tenant_id: UUID, principal_id: UUID, access_key_id: str) -> bool:
    """Revoke a key for good; repeating it changes nothing. Returns whether there is such a key."""
    parameters = {"tenant_id": tenant_id, "principal_id": principal_id, "access_key_id": access_key_id}
    return (await connection.execute(query("revoke_access_key"), parameters)).rowcount == 1


async def use(connection: Connection, access_key_id: str) -> None:
    """Note that a key was used, once a minute at the most."""
    await connection.execute(query("use_access_key"), {"access_key_id": access_key_id})
