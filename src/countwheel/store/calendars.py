"""Named calendars, and how a change of one comes to the jobs that name it.

A job carries its own copy (decision 0014). A new version is carried to each of them in a transaction of its own; which
jobs are behind is asked of the jobs themselves, so that whoever stops half way is gone on for by anybody.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain.exclusion import CalendarCopy, read_exclusion
from countwheel.domain.terms import Calendars
from countwheel.store.changes import changing
from countwheel.store.database import Connection, Database
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class CalendarRow:
    """A calendar as it is stored. `in_force` tells whether every job that names it has this version."""

    name: str
    version: int
    exclusion: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    in_force: bool


@dataclass(frozen=True, slots=True)
class ChangedCalendar:
    """A version that jobs may be behind of."""

    tenant_id: UUID
    name: str
    version: int
    exclusion: str

    def copy(self) -> CalendarCopy:
        """Return what a job carries of it."""
        return _copy(self.name, self.version, self.exclusion)


def _copy(name: str, version: int, exclusion: str) -> CalendarCopy:
    return CalendarCopy(name, version, read_exclusion(json.loads(exclusion)))


async def find_calendars(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> Calendars:
    """Return those calendars of a tenant that there are, by name."""
    if not names:
        return {}
    cursor = await connection.execute(query("find_calendars"), {"tenant_id": tenant_id, "names": list(names)})
    return {row[0]: _copy(*row) async for row in cursor}


async def put(
    connection: Connection, tenant_id: UUID, name: str, exclusion: dict[str, Any], description: str | None
) -> bool:
    """Make a calendar or change it. Returns whether it is new."""
    parameters = {"tenant_id": tenant_id, "name": name, "description": description}
    row = await (
        await connection.execute(query("put_calendar"), parameters | {"exclusion": json.dumps(exclusion)})
    ).fetchone()
    return bool(row and row[0])


async def read(
    connection: Connection, tenant_id: UUID, *, name: str | None = None, after: str | None = None, limit: int = 1
) -> list[CalendarRow]:
    """Return a page of a tenant's calendars by name, or the one of a name."""
    cursor = connection.cursor(row_factory=args_row(CalendarRow))
    parameters = {"tenant_id": tenant_id, "name": name, "after": after, "limit": limit}
    await cursor.execute(query("read_calendars"), parameters)
    return await cursor.fetchall()


async def is_named(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Whether a job that has not ended names a calendar."""
    cursor = await connection.execute(query("names_calendar"), {"tenant_id": tenant_id, "name": name})
    return await cursor.fetchone() is not None


async def delete(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Delete a calendar. Returns whether there was one."""
    cursor = await connection.execute(query("delete_calendar"), {"tenant_id": tenant_id, "name": name})
    return cursor.rowcount == 1


async def find_changed(connection: Connection) -> list[ChangedCalendar]:
    """Return calendars that jobs may be behind of."""
    cursor = connection.cursor(row_factory=args_row(ChangedCalendar))
    await cursor.execute(query("find_changed_calendars"))
    return await cursor.fetchall()


async def carry(database: Database, calendar: ChangedCalendar, at_most: int) -> int:
    """Give jobs that are behind their copy of a calendar, and plan them anew. Returns how many: 0 when all have it."""
    at = {"tenant_id": calendar.tenant_id, "name": calendar.name, "version": calendar.version}
    async with database.connection() as connection:
        cursor = await connection.execute(query("find_jobs_behind"), at | {"limit": at_most})
        behind = [row[0] async for row in cursor]
        if not behind:
            await connection.execute(query("mark_carried"), at)
    for job_id in behind:
        async with changing(database, calendar.tenant_id, job_id) as change:
            if change is not None:
                await change.take_calendar(calendar.copy())
    return len(behind)
