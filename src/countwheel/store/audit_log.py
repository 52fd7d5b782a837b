"""The record of who did what: written in batches, read in pages, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.rows import args_row

from countwheel.store.arrays import BinaryArray
from countwheel.store.columns import columns_of
from countwheel.store.database import Connection
from countwheel.store.queries import query


class Entry(msgspec.Struct, frozen=True):
    """What somebody did, or was refused. `before` and `after` are JSON, without what is secret."""

    entry_id: UUID
    tenant_id: UUID
    principal: str
    key_id: str | None
    source_ip: str | None
    action: str
    resource: str
    status: int
    request_id: UUID
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry as it is read back."""

    entry_id: UUID
    at: datetime
    principal: str
    key_id: str | None
    source_ip: str | None
    action: str
    resource: str
    status: int
    request_id: UUID
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """What a listing is narrowed to."""

    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    after_time: datetime | None = None
    before_time: datetime | None = None


_COLUMNS = (
    *("entry_ids", "entry_tenant_ids", "principals", "key_ids", "source_ips", "actions", "resources"),
    *("statuses", "request_ids", "befores", "afters"),
)


def columns_of_entries(entries: Sequence[Entry]) -> dict[str, BinaryArray]:
    """Return entries as a statement takes them that writes them together with what they tell of."""
    return columns_of(entries, *_COLUMNS)


async def write(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries down, at the database's time."""
    await connection.execute(query("write_audit_log"), {"entries": msgspec.json.encode(entries).decode()})


async def read(
    connection: Connection, tenant_id: UUID, narrow: EntryFilter, *, before: UUID | None, limit: int
) -> list[EntryRow]:
    """Return a page of what was done in a tenant, latest first."""
    cursor = connection.cursor(row_factory=args_row(EntryRow))
    parameters = {
        "tenant_id": tenant_id,
        "principal": narrow.principal,
        "action": narrow.action,
        "resource": narrow.resource,
        "after_time": narrow.after_time,
        "before_time": narrow.before_time,
        "before": before,
        "limit": limit,
    }
    await cursor.execute(query("read_audit_log"), parameters)
    return await cursor.fetchall()
