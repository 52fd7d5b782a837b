"""Policies by name, and whose rights they are a part of."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query

MOST_ATTACHED = 20
"""To one holder: every request of it asks all of them."""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy as it is stored. `document` is JSON text that was found good when it was put."""

    name: str
    document: str
    version: int
    created_at: datetime
    updated_at: datetime
    holders: list[str]


async def put(connection: Connection, tenant_id: UUID, name: str, document: str) -> bool:
    """Make a policy or give it another document. Returns whether it is new."""
    parameters = {"tenant_id": tenant_id, "name": name, "document": document}
    row = await (await connection.execute(query("put_policy"), parameters)).fetchone()
    return bool(row and row[0])


async def read(
    connection: Connection, tenant_id: UUID, *, name: str | None = None, after: str | None = None, limit: int = 1
) -> list[PolicyRow]:
    """Return a page of a tenant's policies by name, or the one of a name."""
    cursor = connection.cursor(row_factory=args_row(PolicyRow))
    parameters = {"tenant_id": tenant_id, "name": name, "after": after, "limit": limit}
    await cursor.execute(query("read_policies"), parameters)
    return await cursor.fetchall()


async def of_holder(connection: Connection, tenant_id: UUID, holder: str) -> list[tuple[str, str]]:
    """Return the policies attached to a holder, as names with documents."""
    parameters = {"tenant_id": tenant_id, "holder": holder}
    row = await (await connection.execute(query("policies_of_holder"), parameters)).fetchone()
    return [] if row is None else [(name, document) for name, document in row[0]]


async def delete(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Delete a policy that is attached to nobody. Returns whether one was deleted."""
    cursor = await connection.execute(query("delete_policy"), {"tenant_id": tenant_id, "name": name})
    return cursor.rowcount == 1


async def is_holder(connection: Connection, tenant_id: UUID, holder: str) -> bool:
    """Whether a tenant has such a client or principal."""
    row = await (
        await connection.execute(query("holder_is_there"), {"tenant_id": tenant_id, "holder": holder})
    ).fetchone()
    return bool(row and row[0])


async def attach(connection: Connection, tenant_id: UUID, holder: str, name: str) -> bool:
    """Make a policy a part of somebody's rights; repeating it changes nothing. False where a holder has too many."""
    parameters = {"tenant_id": tenant_id, "holder": holder, "name": name}
    row = await (await connection.execute(query("count_other_policies"), parameters)).fetchone()
    if row is None or row[0] >= MOST_ATTACHED:
        return False
    await connection.execute(query("attach_policy"), parameters)
    return True


async def detach(connection: Connection, tenant_id: UUID, holder: str, name: str) -> bool:
    """Take a policy out of somebody's rights. Returns whether it was one of them."""
    parameters = {"tenant_id": tenant_id, "holder": holder, "name": name}
    return (await connection.execute(query("detach_policy"), parameters)).rowcount == 1
