"""Tenants: the boundaries of everything, with what they may use."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a tenant may use. None: without limit."""

    max_jobs: int | None = None
    creates_per_second: float | None = None
    runs_per_second: float | None = None
    max_payload_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant's jobs that have not ended come to."""

    jobs: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant as it stands."""

    tenant_id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None
    suspend_reason: str | None
    max_jobs: int | None
    creates_per_second: float | None
    runs_per_second: float | None
    max_payload_bytes: int | None

    @property
    def quotas(self) -> Quotas:
        """What it may use."""
        return Quotas(self.max_jobs, self.creates_per_second, self.runs_per_second, self.max_payload_bytes)


async def read(
    connection: Connection, *, tenant_id: UUID | None = None, before: UUID | None = None, limit: int = 1
) -> list[TenantRow]:
    """Return a page of all tenants, latest first, or the one of an id."""
    cursor = connection.cursor(row_factory=args_row(TenantRow))
    await cursor.execute(query("read_tenants"), {"tenant_id": tenant_id, "before": before, "limit": limit})
    return await cursor.fetchall()


async def set_quotas(connection: Connection, tenant_id: UUID, quotas: Quotas) -> bool:
    """Say what a tenant may use. Returns whether there is such a tenant."""
    cursor = await connection.execute(query("set_quotas"), {"tenant_id": tenant_id} | asdict(quotas))
    return cursor.rowcount == 1


async def count_usage(connection: Connection, tenant_id: UUID) -> Usage:
    """Count what a tenant uses: as long as a walk through its jobs takes."""
    row = await (await connection.execute(query("count_usage"), {"tenant_id": tenant_id})).fetchone()
    return Usage(0, 0) if row is None else Usage(*row)


async def suspend(connection: Connection, tenant_id: UUID, reason: str | None) -> bool:
    """Let nobody of a tenant in, and call nothing of it, until it is resumed. False where there is none."""
    cursor = await connection.execute(query("suspend_tenant"), {"tenant_id": tenant_id, "reason": reason})
    return cursor.rowcount == 1


async def resume(connection: Connection, tenant_id: UUID) -> bool:
    """Let a tenant go on. Returns whether there is such a tenant."""
    return (await connection.execute(query("resume_tenant"), {"tenant_id": tenant_id})).rowcount == 1
