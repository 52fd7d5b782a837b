"""What must be there before anybody comes in: tenants with their signing secret, and the keys that sign our tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer


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


async def lock_issuer_keys(connection: Connection) -> None:
    """Make other starting nodes wait until this transaction ends."""
    await connection.execute(query("lock_issuer_keys"))


async def issuer_keys(connection: Connection, sealer: Sealer) -> list[IssuerKeyRow]:
    """Return the keys that sign tokens, oldest first. Raises `WrongSecretKeyError` under another key."""
    cursor = await connection.execute(query("issuer_keys"))
    return [IssuerKeyRow(row[0], sealer.open(row[1], f"issuer key {row[0]}").decode(), row[2]) async for row in cursor]


async def delete_issuer_keys(connection: Connection, kids: Sequence[str]) -> None:
    """Delete keys that no token alive was signed with."""
    await connection.execute(query("delete_issuer_keys"), {"kids": list(kids)})


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
