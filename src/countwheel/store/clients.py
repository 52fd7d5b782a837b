"""Clients: programs that ask our own token endpoint for tokens. Of a secret only the hash is kept."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client as it is stored."""

    client_id: str
    tenant_id: UUID
    secret_hash: bytes
    scopes: frozenset[str]
    name: str


@dataclass(frozen=True, slots=True)
class ClientView:
    """What may be known of a client."""

    client_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None
    policies: list[str]


async def find(connection: Connection, client_id: str) -> ClientRow | None:
    """Return a client that has not been revoked."""
    row = await (await connection.execute(query("find_client"), {"client_id": client_id})).fetchone()
    return ClientRow(row[0], row[1], row[2], frozenset(row[3]), row[4]) if row else None


async def create(connection: Connection, client: ClientRow) -> None:
    """Write a new client down."""
    await connection.execute(
        query("create_client"),
        {
            "client_id": client.client_id,
            "tenant_id": client.tenant_id,
            "name": client.name,
            "secret_hash": client.secret_hash,
            "scopes": sorted(client.scopes),
        },
    )


async def has_admin(connection: Connection) -> bool:
    """Whether there is a client that may administer the deployment."""
    row = await (await connection.execute(query("has_admin"))).fetchone()
    return bool(row and row[0])


async def lock(connection: Connection) -> None:
    """Make others who add clients wait until this transaction ends."""
    await connection.execute(query("lock_clients"))


async def read(
    connection: Connection, tenant_id: UUID, *, client_id: str | None = None, after: str | None = None, limit: int = 1
) -> list[ClientView]:
    """Return a page of a tenant's clients by id, or the one of an id, those that are revoked too."""
    cursor = connection.cursor(row_factory=args_row(ClientView))
    parameters = {"tenant_id": tenant_id, "client_id": client_id, "after": after, "limit": limit}
    await cursor.execute(query("read_clients"), parameters)
    return await cursor.fetchall()


async def rotate(connection: Connection, tenant_id: UUID, client_id: str, secret_hash: bytes) -> bool:
    """Give a client another secret; the one so far opens nothing from now on. False where there is no such client."""
    parameters = {"tenant_id": tenant_id, "client_id": client_id, "secret_hash": secret_hash}
    return (await connection.execute(query("rotate_client"), parameters)).rowcount == 1


async def revoke(connection: Connection, tenant_id: UUID, client_id: str) -> bool:
    """Revoke a client for good; repeating it changes nothing. Returns whether there is such a client."""
    parameters = {"tenant_id": tenant_id, "client_id": client_id}
    return (await connection.execute(query("revoke_client"), parameters)).rowcount == 1
