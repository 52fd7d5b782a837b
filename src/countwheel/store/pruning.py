"""What is past its time and in no partition: walks through tables, a bite at a time.

No index says what may go: it would burden everything that is written. So a bite reads some rows, in the order of a key,
deletes those of them that may go, and says where the next one is to begin. What a round costs is a matter of its bites,
then, and not of how large the table is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from countwheel.domain import ids
from countwheel.store import nodes
from countwheel.store.database import Connection
from countwheel.store.listing import ENDLESS, FIRST_ID
from countwheel.store.queries import query

Place = TypeVar("Place")

_CLOCKS_APART = timedelta(days=1)
"""By how much a node's clock may be ahead: ids that seem to be of a later time than this were chosen by clients."""


@dataclass(frozen=True, slots=True)
class Bite(Generic[Place]):
    """How many rows went, and the last that was looked at; None where there are no more."""

    gone: int
    last: Place | None


async def prune_aged_jobs(connection: Connection, after: UUID | None, many: int, *, retention_days: int) -> Bite[UUID]:
    """Delete jobs that ended before the retention, of those whose ids say that they are older than that."""
    now = await nodes.database_time(connection)
    until = ids.first_run_id(now - timedelta(days=retention_days))
    return await _prune_jobs(connection, after or FIRST_ID, until, many, retention_days)


async def prune_jobs_of_no_time(
    connection: Connection, after: UUID | None, many: int, *, retention_days: int
) -> Bite[UUID]:
    """Delete jobs that ended before the retention, of those whose ids say nothing: clients have chosen them.

    One that happens to seem young is found when it seems aged.
    """
    now = await nodes.database_time(connection)
    after = max(after or FIRST_ID, ids.first_run_id(now + _CLOCKS_APART))
    return await _prune_jobs(connection, after, ids.LAST_ID, many, retention_days)


async def _prune_jobs(connection: Connection, after: UUID, until: UUID, many: int, retention_days: int) -> Bite[UUID]:
    parameters = {"after": after, "until": until, "many": many, "retention_days": retention_days}
    return Bite(*await _row(connection, "prune_jobs", parameters))


async def prune_keys(connection: Connection, after: datetime | None, many: int) -> Bite[datetime]:
    """Forget idempotency keys that are older than seven days and whose job has ended."""
    return Bite(*await _row(connection, "prune_keys", {"after": after or ENDLESS[0], "many": many}))


async def prune_cancelled(
    connection: Connection, after: tuple[UUID, datetime] | None, many: int, *, retention_days: int
) -> Bite[tuple[UUID, datetime]]:
    """Forget cancelled occurrences whose time is past the retention."""
    job_id, instant = after or (FIRST_ID, ENDLESS[0])
    parameters = {"after_job": job_id, "after": instant, "many": many, "retention_days": retention_days}
    gone, job_id, instant = await _row(connection, "prune_cancelled", parameters)
    return Bite(gone, None if job_id is None else (job_id, instant))


async def prune_versions(
    connection: Connection, after: tuple[UUID, int] | None, many: int, *, retention_days: int
) -> Bite[tuple[UUID, int]]:
    """Forget what jobs were longer ago than the ledger is kept: an audit asks only for what was in force since."""
    job_id, version = after or (FIRST_ID, 0)
    parameters = {"after_job": job_id, "after": version, "many": many, "retention_days": retention_days}
    gone, job_id, version = await _row(connection, "prune_versions", parameters)
    return Bite(gone, None if job_id is None else (job_id, version))


async def _row(connection: Connection, name: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = await (await connection.execute(query(name), parameters)).fetchone()
    if row is None:
        raise AssertionError(f"{name} returned no row")
    return row
