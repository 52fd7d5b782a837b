"""Dead letters: runs that ended FAILED or UNKNOWN, and their way back to life."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain import ids
from countwheel.domain.policy import ATTEMPTS_LIMIT
from countwheel.store.database import Connection
from countwheel.store.listing import ENDLESS, FIRST_ID, EndedFilter, ended_parameters
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, and when it became one."""

    job_id: UUID
    run_id: UUID
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk through the dead letters has come: all up to this one, none that ended at the horizon or later."""

    horizon: datetime
    after: datetime = ENDLESS[0]
    after_id: UUID = FIRST_ID


async def count(
    connection: Connection, tenant_id: UUID, statuses: Sequence[str], narrow: EndedFilter, horizon: datetime
) -> int:
    """Return how many dead letters a filter finds, of jobs that are neither paused nor deleted."""
    parameters = _parameters(tenant_id, statuses, narrow, Place(horizon))
    cursor = await connection.cursor().execute(query("count_dead_letters"), parameters, prepare=False)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def find(
    connection: Connection, tenant_id: UUID, statuses: Sequence[str], narrow: EndedFilter, *, place: Place, limit: int
) -> list[DeadLetter]:
    """Return up to `limit` of them, first end first, after a place."""
    cursor = connection.cursor(row_factory=args_row(DeadLetter))
    parameters = _parameters(tenant_id, statuses, narrow, place) | {"limit": limit}
    await cursor.execute(query("find_dead_letters"), parameters, prepare=False)  # planned for what is asked
    return await cursor.fetchall()


async def redrive(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    due_ats: dict[UUID, datetime],
    *,
    statuses: Sequence[str],
    by: str,
) -> set[UUID]:
    """Make dead letters of a job live again, each under its own id, due at its moment; return those that were.

    What is alive, has been redriven, is resolved, or was tried too often (`ATTEMPTS_LIMIT`) is left as it is. Must run
    while the job is locked (`store.changes`): a one-off job that had ended is active again.
    """
    cursor = await connection.execute(
        query("redrive"),
        {
            "tenant_id": tenant_id,
            "job_id": job_id,
            "run_ids": list(due_ats),
            "buckets": [ids.bucket_of(run_id) for run_id in due_ats],
            "due_ats": list(due_ats.values()),
            "statuses": list(statuses),
            "attempts_limit": ATTEMPTS_LIMIT,
            "by": by,
        },
    )
    return {row[0] async for row in cursor}


def _parameters(tenant_id: UUID, statuses: Sequence[str], narrow: EndedFilter, place: Place) -> dict[str, Any]:
    return ended_parameters(tenant_id, narrow) | {
        "statuses": list(statuses),
        "horizon": place.horizon,
        "after": place.after,
        "after_id": place.after_id,
    }
