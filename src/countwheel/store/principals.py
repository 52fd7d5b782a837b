"""Principals: who signs requests with access keys, or comes with a token of a trusted issuer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject of a trusted issuer, as its tokens name it."""

    issuer: str
    subject: str
    audience: str


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """A principal with what belongs to it."""

    principal_id: UUID
    name: str
    created_at: datetime
    identities: list[dict[str, str]]
    policies: list[str]


class TakenIdentityError(Exception):
    """An identity that is another principal of the tenant already."""


async def create(
    connection: Connection, tenant_id: UUID, principal_id: UUID, name: str, identities: Sequence[Identity]
) -> bool:
    """Write a principal down. Returns False where the tenant has one of that name.

    Raises `TakenIdentityError`: the caller's transaction must not commit then.
    """
    parameters = {"principal_id": principal_id, "tenant_id": tenant_id, "name": name}
    if await (await connection.execute(query("create_principal"), parameters)).fetchone() is None:
        return False
    for identity in identities:
        said = {"issuer": identity.issuer, "subject": identity.subject, "audience": identity.audience}
        said |= {"tenant_id": str(tenant_id), "principal_id": str(principal_id)}
        if (await connection.execute(query("add_identity"), said)).rowcount == 0:
            raise TakenIdentityError
    return True


async def read(
    connection: Connection,
    tenant_id: UUID,
    *,
    principal_id: UUID | None = None,
    before: UUID | None = None,
    limit: int = 1,
) -> list[PrincipalRow]:
    """Return a page of a tenant's principals, latest first, or the one of an id."""
    cursor = connection.cursor(row_factory=args_row(PrincipalRow))
    parameters = {"tenant_id": tenant_id, "principal_id": principal_id, "before": before, "limit": limit}
    await cursor.execute(query("read_principals"), parameters)
    return await cursor.fetchall()


async def lock(connection: Connection, tenant_id: UUID, principal_id: UUID) -> bool:
    """Lock a principal until the transaction ends. Returns whether it is there."""
    parameters = {"tenant_id": tenant_id, "principal_id": principal_id}
    return await (await connection.execute(query("lock_principal"), parameters)).fetchone() is not None


async def delete(connection: Connection, tenant_id: UUID, principal_id: UUID) -> bool:
    """Delete a principal with its keys, identities and attachments. Must run in a transaction."""
    holder = {"tenant_id": tenant_id, "holder": f"principals/{principal_id}"}
    await connection.execute(query("detach_all"), holder)
    parameters = {"tenant_id": tenant_id, "principal_id": principal_id}
    return (await connection.execute(query("delete_principal"), parameters)).rowcount == 1
