"""What somebody who calls is worth now: tenant, policies, and whether either was taken away. One look-up each."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.access_keys import belongs_to
from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class HolderRow:
    """Whose rights they are. `policies` are names with documents, as they were put."""

    tenant_id: UUID
    is_suspended: bool
    policies: list[tuple[str, str]]
    principal_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class KeyHolderRow:
    """The same of an access key, with its secret in clear."""

    holder: HolderRow
    secret: str


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant that a token's claims name."""

    tenant_id: UUID
    is_suspended: bool


async def of_client(connection: Connection, client_id: str) -> HolderRow | None:
    """Return what a client of ours may do; None where there is none, or it is revoked."""
    cursor = connection.cursor(row_factory=args_row(HolderRow))
    await cursor.execute(query("rights_of_client"), {"client_id": client_id})
    return await cursor.fetchone()


async def of_identity(
    connection: Connection, tenant_id: UUID, issuer: str, subject: str, audience: str
) -> HolderRow | None:
    """Return who a subject of a trusted issuer is in a tenant, by exact match of all three; None for a stranger."""
    cursor = connection.cursor(row_factory=args_row(HolderRow))
    parameters = {"tenant_id": tenant_id, "issuer": issuer, "subject": subject, "audience": audience}
    await cursor.execute(query("rights_of_identity"), parameters)
    return await cursor.fetchone()


async def of_access_key(connection: Connection, sealer: Sealer, access_key_id: str) -> KeyHolderRow | None:
    """Return what an access key opens; None where there is none, or it is revoked, or has expired.

    Raises `WrongSecretKeyError` where it was sealed under another key.
    """
    cursor = await connection.execute(query("rights_of_access_key"), {"access_key_id": access_key_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    tenant_id, is_suspended, policies, principal_id, sealed = row
    secret = sealer.open(sealed, belongs_to(access_key_id, tenant_id)).decode()
    return KeyHolderRow(HolderRow(tenant_id, is_suspended, policies, principal_id), secret)


async def of_tenant(connection: Connection, name: str) -> TenantState | None:
    """Return a tenant by its name."""
    cursor = connection.cursor(row_factory=args_row(TenantState))
    await cursor.execute(query("rights_of_tenant"), {"name": name})
    return await cursor.fetchone()
