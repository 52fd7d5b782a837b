"""What signs a tenant's calls, and its rotation: what signed so far signs on for a while beside what is new."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """One secret or private key, sealed. `secret_id` is None for the one that a tenant was made with."""

    tenant_id: UUID
    secret_id: UUID | None
    scheme: str
    sealed: bytes
    public_key: bytes | None
    created_at: datetime
    expires_at: datetime | None

    def opened(self, sealer: Sealer) -> bytes:
        """Return the secret. Raises `WrongSecretKeyError` under another key."""
        return sealer.open(self.sealed, self._belongs_to())

    def holding(self, sealer: Sealer, secret: bytes) -> "SigningKeyRow":
        """Return the row with a secret sealed into it."""
        return replace(self, sealed=sealer.seal(secret, self._belongs_to()))

    def _belongs_to(self) -> str:
        return f"tenant {self.tenant_id}" if self.secret_id is None else f"signing key {self.secret_id}"


async def find(connection: Connection, tenant_ids: Sequence[UUID]) -> list[SigningKeyRow]:
    """Return everything that signs for these tenants now, newest first."""
    cursor = await connection.execute(query("signing_keys"), {"tenant_ids": list(tenant_ids)})
    return [SigningKeyRow(*row) async for row in cursor]


async def lock(connection: Connection, tenant_id: UUID) -> datetime:
    """Let rotations of a tenant take turns until the transaction ends; returns the database's time."""
    row = await (await connection.execute(query("lock_tenant"), {"tenant_id": tenant_id})).fetchone()
    if row is None:
        raise LookupError(f"there is no tenant {tenant_id}")
    now: datetime = row[0]
    return now


async def rotate(
    connection: Connection,
    sealer: Sealer,
    fresh: SigningKeyRow,
    *,
    signing_so_far: Sequence[SigningKeyRow],
    kept_as: UUID,
    overlap: timedelta,
) -> None:
    """Let `fresh` sign from now on, and what signed so far for `overlap` more.

    `kept_as` is the id under which the secret that the tenant was made with is kept from its first rotation on.
    """
    until = fresh.created_at + overlap
    for row in signing_so_far:
        if row.secret_id is None:
            kept = replace(row, secret_id=kept_as, expires_at=until)
            await _add(connection, kept.holding(sealer, row.opened(sealer)))
    at = {"tenant_id": fresh.tenant_id, "scheme": fresh.scheme, "expires_at": until}
    await connection.execute(query("expire_signing_keys"), at)
    await _add(connection, fresh)


async def prune(connection: Connection) -> int:
    """Forget what has not signed for a day; returns how many."""
    return (await connection.execute(query("prune_signing_keys"))).rowcount


async def _add(connection: Connection, row: SigningKeyRow) -> None:
    await connection.execute(
        query("add_signing_key"),
        {
            "secret_id": row.secret_id,
            "tenant_id": row.tenant_id,
            "scheme": row.scheme,
            "sealed": row.sealed,
            "public_key": row.public_key,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
        },
    )
