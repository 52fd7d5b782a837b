"""Runs as people read them: live ones and the ledger of ended ones, side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain import ids
from countwheel.domain.run import RunStatus
from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.walking import Walk, look_through

_ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
"""When an occurrence can be."""
_REDRIVEN = "RETRIED"
"""How an end was resolved whose run was sent again: it stands otherwise now."""
_A_DAY = timedelta(days=1)
_FIRST_ROWS = 250
"""How many runs of a job a listing looks at first: a millisecond's, where each lies on a page of its own."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run, live or ended. `occurrences` is over 1 where the row stands for a dropped range."""

    run_id: UUID
    job_id: UUID
    status: str
    scheduled_for: datetime
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    http_status: int | None
    error: str | None
    trigger: str
    node_id: str | None
    deleted_at: datetime | None
    occurrences: int
    superseded_by: datetime | None
    resolution: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolution_note: str | None
    fence: int
    waiting: bool
    trace: str | None
    error_class: str | None
    lane: str | None
    """The target by whose pace it waits."""
    fingerprint: str | None
    accepted_at: datetime | None
    """Since when it is, or was, its target's."""
    deadline_at: datetime | None
    heartbeat_at: datetime | None
    progress: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt. Where an earlier one failed, the start of the one that succeeded is not known by its row."""

    attempt: int
    fence: int
    started_at: datetime | None
    finished_at: datetime
    node_id: str | None
    http_status: int | None
    error: str | None
    response_head: bytes | None
    trace: str | None
    error_class: str | None
    response_headers: str | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a listing is narrowed to; None means anything."""

    status: str | None = None
    scheduled_after: datetime | None = None
    scheduled_before: datetime | None = None
    show_deleted: bool = False


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, and where the walk stopped, if it ran out of time: what comes after that run was not looked at."""

    runs: list[RunRow]
    stopped_at: UUID | None


async def find(connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID) -> RunRow | None:
    """Return a run of a tenant's job, or None.

    Nearly every run ends within a day of its instant, which its id tells: the ledger of those days is asked first. To
    open all of its days takes PostgreSQL 25 ms at a connection's first look, and 7 ms for each plan.
    """
    row = await _find_within(connection, tenant_id, job_id, run_id, _days_about(run_id))
    if row is not None and row.resolution != _REDRIVEN:
        return row
    return await _find_within(connection, tenant_id, job_id, run_id, _ALWAYS)


async def find_page(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    narrow: RunFilter,
    *,
    before: UUID | None,
    limit: int,
    monotonic: Callable[[], float],
) -> RunPage:
    """Return up to `limit` runs of a tenant's job, latest occurrence first, earlier than `before`."""
    after, until = narrow.scheduled_after or _ALWAYS[0], narrow.scheduled_before or _ALWAYS[1]
    asked = {
        "tenant_id": tenant_id,
        "job_id": job_id,
        "statuses": list(RunStatus) if narrow.status is None else [narrow.status],
        "scheduled_after": after,
        "scheduled_before": until,
        "show_deleted": narrow.show_deleted,
        # A run's id begins with the milliseconds of its instant.
        "least": ids.first_run_id(after),
    }
    before = min(before or ids.LAST_ID, ids.first_run_id(until + timedelta(milliseconds=1)))

    async def step(before: UUID, rows: int, left: int) -> tuple[list[RunRow], UUID | None]:
        parameters = asked | {"before": before, "limit": left, "rows": rows}
        looked_at = await (await connection.cursor().execute(query("list_runs"), parameters)).fetchall()
        return [RunRow(*row[:-1]) for row in looked_at if row[0] is not None], looked_at[0][-1]

    return RunPage(*await look_through(Walk(monotonic), before, step, rows=_FIRST_ROWS, limit=limit))


async def find_attempts(connection: Connection, tenant_id: UUID, row: RunRow) -> list[AttemptRow]:
    """Return the attempts of a run, first one first."""
    named = {"tenant_id": tenant_id, "job_id": row.job_id, "run_id": row.run_id}
    # None is made before the instant, or after the end.
    span = {"since": _days_about(row.run_id)[0], "until": row.finished_at or _ALWAYS[1]}
    cursor = connection.cursor(row_factory=args_row(AttemptRow))
    await cursor.execute(query("find_attempts"), named | span)
    return await cursor.fetchall()


async def find_completion(connection: Connection, tenant_id: UUID, row: RunRow) -> str | None:
    """Return what its target said at the end of a run, as JSON text."""
    named = {"tenant_id": tenant_id, "job_id": row.job_id, "run_id": row.run_id}
    end = {"fence": row.fence, "finished_at": row.finished_at}
    cursor = await connection.execute(query("find_completion"), named | end)
    found = await cursor.fetchone()
    return None if found is None else found[0]


async def hide(connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID) -> None:
    """Soft-delete an ended run, once; one that was cancelled stays as it is."""
    await connection.execute(query("hide_run"), {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id})


async def _find_within(
    connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID, days: tuple[datetime, datetime]
) -> RunRow | None:
    cursor = connection.cursor(row_factory=args_row(RunRow))
    named = {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
    await cursor.execute(query("find_run"), named | {"since": days[0], "until": days[1]})
    return await cursor.fetchone()


def _days_about(run_id: UUID) -> tuple[datetime, datetime]:
    """Return when a run ends, nearly always: never earlier, unless it was cancelled ahead of its time."""
    instant = ids.time_of(run_id)
    if instant is None or not _ALWAYS[0] + _A_DAY < instant < _ALWAYS[1] - _A_DAY:
        return _ALWAYS
    return instant - _A_DAY, instant + _A_DAY
