"""Which release of the time zones the armed runs were planned with, and which runs a zone has a say in."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Armed:
    """A run that nobody has claimed yet, of a job whose times are those of a place."""

    job_id: UUID
    tenant_id: UUID
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None
    scheduled_for: datetime


async def read(connection: Connection) -> str | None:
    """Return the newest release that any node has planned with, or None where that was never written down."""
    row = await (await connection.execute(query("zone_release"))).fetchone()
    return str(row[0]) if row else None


async def write(connection: Connection, release: str) -> None:
    """Write down that what is armed is right by a release, unless a newer one stands there."""
    await connection.execute(query("set_zone_release"), {"release": release})


async def find_armed(connection: Connection, *, after: UUID) -> list[Armed]:
    """Return a page of armed runs that a zone has a say in and that are not due yet, by job."""
    cursor = connection.cursor(row_factory=args_row(Armed))
    await cursor.execute(query("find_armed_by_wall_clock"), {"after": after, "limit": _PAGE})
    return await cursor.fetchall()
