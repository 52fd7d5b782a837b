"""What a job was: every version of it, with the time that it was in force."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version. `definition` is None for the one in force, and for those that an earlier release has kept."""

    version: int
    state: str
    effective_from: datetime
    effective_until: datetime | None
    definition: str | None
    pause_reason: str | None
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None


async def find_page(
    connection: Connection, tenant_id: UUID, job_id: UUID, *, before: int | None, limit: int
) -> list[VersionRow]:
    """Return up to `limit` versions of a tenant's job, latest first, earlier than `before`."""
    cursor = connection.cursor(row_factory=args_row(VersionRow))
    parameters = {"tenant_id": tenant_id, "job_id": job_id, "before": before, "limit": limit}
    await cursor.execute(query("list_versions"), parameters)
    return await cursor.fetchall()
