"""Who may come in: tenants with their signing secret, clients, and the keys that sign our own tokens."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client as it is stored: of its secret only the hash."""

    client_id: str
    tenant_id: UUID
    secret_hash: bytes
    scopes: frozenset[str]
    name: str


@dataclass(frozen=True, slots=True)
class IssuerKeyRow:
    """A key that signs tokens, opened."""

    kid: str
    private_key: str
    created_at: datetime


async def find_tenant(connection: Connection, name: str) -> UUID | None:
    """Return a tenant's id by its name."""
    row = await (await connection.execute(query("find_tenant"), {"name": name})).fetchone()
    return row[0] if row else None


async def ensure_tenant(
    connection: Connection, sealer: Sealer, *, tenant_id: UUID, name: str, signing_secret: bytes
) -> UUID:
    """Make a tenant unless one of that name is there, and return the id of the one that is."""
    sealed = sealer.seal(signing_secret, f"tenant {tenant_id}")
    await connection.execute(query("create_tenant"), {"tenant_id": tenant_id, "name": name, "signing_secret": sealed})
    found = await find_tenant(connection, name)
    if found is None:
        raise AssertionError(f"tenant {name} vanished")
    return found


async def find_client(connection: Connection, client_id: str) -> ClientRow | None:
    """Return a client that has not been revoked."""
    row = await (await connection.execute(query("find_client"), {"client_id": client_id})).fetchone()
    return ClientRow(row[0], row[1], row[2], frozenset(row[3]), row[4]) if row else None


async def create_client(connection: Connection, client: ClientRow) -> None:
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


async def lock_clients(connection: Connection) -> None:
    """Make others who add clients wait until this transaction ends."""
    await connection.execute(query("lock_clients"))


async def lock_issuer_keys(connection: Connection) -> None:
    """Make other starting nodes wait until this transaction ends."""
    await connection.execute(query("lock_issuer_keys"))


async def issuer_keys(connection: Connection, sealer: Sealer) -> list[IssuerKeyRow]:
    """Return the keys that sign tokens, oldest first. Raises `WrongSecretKeyError` under another key."""
    cursor = await connection.execute(query("issuer_keys"))
    return [IssuerKeyRow(row[0], sealer.open(row[1], f"issuer key {row[0]}").decode(), row[2]) async for row in cursor]


async def add_issuer_key(connection: Connection, sealer: Sealer, key: IssuerKeyRow) -> None:
    """Write a new signing key down, sealed."""
    await connection.execute(
        query("add_issuer_key"),
        {
            "kid": key.kid,
            "private_key": sealer.seal(key.private_key.encode(), f"issuer key {key.kid}"),
            "created_at": key.created_at,
        },
    )
