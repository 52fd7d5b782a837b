"""Jobs: created with their first run and their idempotency key in one transaction, read, listed, deleted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import args_row

from countwheel.domain import ids
from countwheel.domain.job import Definition, JobStatus
from countwheel.domain.run import Trigger
from countwheel.store.audit_log import Entry, columns_of_entries
from countwheel.store.columns import columns_of
from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.walking import Walk, look_through


class NewJob(NamedTuple):
    """Everything that one create writes. `key`, `fingerprint` and `answer` are all given or all None.

    It is a tuple because a frozen dataclass of so many fields takes 5 us to make, which every create would pay.
    """

    job_id: UUID
    tenant_id: UUID
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None
    calling: str | None
    job_url: str
    target_host: str
    job_payload: str
    name: str | None
    labels: str
    timeout_seconds: float
    max_attempts: int
    created_at: datetime
    run_id: UUID
    bucket: int
    scheduled_for: datetime
    due_at: datetime
    delivery: str
    on_unknown: str
    key: str | None = None
    fingerprint: bytes | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as it is stored, with the live run that comes latest (the next one, as a rule)."""

    job_id: UUID
    state: str
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None
    calling: str | None
    job_url: str
    job_payload: str
    name: str | None
    labels: dict[str, str]
    timeout_seconds: float
    max_attempts: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int
    delivery: str
    on_unknown: str
    pause_reason: str | None
    paused_at: datetime | None
    next_run_id: UUID | None
    next_scheduled_for: datetime | None
    next_state: str | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, and where the walk stopped, if it ran out of time: what comes after that job was not looked at."""

    jobs: list[JobRow]
    stopped_at: UUID | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a listing is narrowed to; None means anything."""

    status: str | None = None
    target: str | None = None
    labels: Sequence[tuple[str, str]] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    show_deleted: bool = False
    name: str | None = None
    text: str | None = None
    """Found, in any case, in its name, its URL, its labels or its expression."""

    def parameters(self, tenant_id: UUID) -> dict[str, Any]:
        """Return what the queries call it."""
        return {
            "tenant_id": tenant_id,
            "status": self.status,
            "target": self.target,
            "name": self.name,
            "text": self.text,
            "labels": [json.dumps({key: value}) for key, value in self.labels],
            "created_after": self.created_after,
            "created_before": self.created_before,
            "show_deleted": self.show_deleted or self.status == JobStatus.DELETED,
        }


@dataclass(frozen=True, slots=True)
class UnarmedJob:
    """A recurring job whose chain is broken; `last` is the occurrence after which it broke."""

    job_id: UUID
    tenant_id: UUID
    schedule_recurring: str
    timezone: str | None
    terms: str | None
    runs_begun: int
    last: datetime


class Bite(NamedTuple):
    """What a look at some of the recurring jobs found."""

    unarmed: Sequence[UUID]
    last: UUID | None
    """Where the next look begins; None where there are no more jobs."""
    took_seconds: float
    """How long the database has taken."""


_FIRST_ROWS = 1_000
"""How many jobs a listing looks at first: in less than a millisecond."""

_COLUMNS = (
    *(
        "job_ids",
        "tenant_ids",
        "schedules_recurring",
        "schedules_oneoff",
        "timezones",
        "terms",
        "callings",
        "job_urls",
        "target_hosts",
    ),
    *(
        "job_payloads",
        "names",
        "labels",
        "timeouts_seconds",
        "max_attempts",
        "created_ats",
        "run_ids",
        "buckets",
    ),
    *("scheduled_fors", "due_ats", "deliveries", "on_unknowns", "keys", "fingerprints", "answers"),
)


def columns_of_definition(definition: Definition) -> dict[str, Any]:
    """Return the columns of `jobs` that a definition fills, by name."""
    columns = definition._asdict()
    del columns["first_occurrence"], columns["first_due_at"]  # a run's
    return columns | {"labels": msgspec.json.encode(definition.labels).decode()}


def prepare(definition: Definition, tenant_id: UUID, created_at: datetime) -> NewJob:
    """Return what creating a job writes, without a key. `created_at` is in whole milliseconds."""
    run_id = ids.run_id(definition.job_id, definition.first_occurrence, Trigger.SCHEDULE)
    return NewJob(
        tenant_id=tenant_id,
        created_at=created_at,
        run_id=run_id,
        bucket=ids.bucket_of(run_id),
        scheduled_for=definition.first_occurrence,
        due_at=definition.first_due_at,
        **columns_of_definition(definition),
    )


async def create(connection: Connection, batch: Sequence[NewJob], entries: Sequence[Entry] = ()) -> set[UUID]:
    """Create a batch in one statement and return the ids of those that are new.

    `entries` say in the audit log who created which: each has the id of its job. A job whose id is not returned met an
    idempotency key that somebody else was first with. Raises an integrity or data error,
    with nothing written, if one row of the batch cannot be stored.
    """
    cursor = await connection.execute(query("create_jobs"), columns_of(batch, *_COLUMNS) | columns_of_entries(entries))
    return {row[0] async for row in cursor}


async def find(connection: Connection, tenant_id: UUID, job_id: UUID) -> JobRow | None:
    """Return a tenant's job, deleted ones too, or None."""
    cursor = connection.cursor(row_factory=args_row(JobRow))
    await cursor.execute(query("find_job"), {"tenant_id": tenant_id, "job_id": job_id})
    return await cursor.fetchone()


async def find_page(
    connection: Connection,
    tenant_id: UUID,
    narrow: JobFilter,
    *,
    before: UUID | None,
    limit: int,
    monotonic: Callable[[], float],
) -> JobPage:
    """Return up to `limit` jobs of a tenant, newest first, older than `before`. `monotonic` tells how long it takes."""
    asked = narrow.parameters(tenant_id)

    async def step(before: UUID | None, rows: int, left: int) -> tuple[list[JobRow], UUID | None]:
        cursor = await connection.cursor().execute(
            query("list_jobs"),
            asked | {"before": before, "limit": left, "rows": rows},
            prepare=False,  # planned for what is asked, not once for all
        )
        looked_at = await cursor.fetchall()
        return [JobRow(*row[:-1]) for row in looked_at if row[0] is not None], looked_at[0][-1]

    return JobPage(*await look_through(Walk(monotonic), before, step, rows=_FIRST_ROWS, limit=limit))


async def count_matching(
    connection: Connection, tenant_id: UUID, narrow: JobFilter, states: Sequence[JobStatus]
) -> int:
    """Return how many jobs of a tenant match and are in one of these states."""
    cursor = await connection.execute(query("count_matching"), narrow.parameters(tenant_id) | {"states": list(states)})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def find_matching(
    connection: Connection,
    tenant_id: UUID,
    narrow: JobFilter,
    states: Sequence[JobStatus],
    *,
    after: UUID | None,
    limit: int,
) -> list[UUID]:
    """Return up to `limit` of them by id, those after one."""
    parameters = narrow.parameters(tenant_id) | {"states": list(states), "after": after, "limit": limit}
    cursor = await connection.execute(query("find_matching"), parameters)
    return [row[0] async for row in cursor]


async def mark_deleted(connection: Connection, tenant_id: UUID, job_id: UUID) -> bool:
    """Mark a job deleted, once. Returns False if there was nothing to mark."""
    cursor = await connection.execute(query("mark_job_deleted"), {"tenant_id": tenant_id, "job_id": job_id})
    return cursor.rowcount == 1


async def find_unarmed(connection: Connection, *, after: UUID, many: int) -> Bite:
    """Look at `many` recurring jobs, by id, for those that have not ended and have no live run."""
    cursor = await connection.execute(query("find_unarmed_jobs"), {"after": after, "many": many})
    job_ids, last, took_seconds = await cursor.fetchone() or (None, None, 0.0)
    return Bite(job_ids or [], last, took_seconds)


async def lock_unarmed(connection: Connection, job_ids: Sequence[UUID]) -> list[UnarmedJob]:
    """Lock those of the jobs that are unarmed still, and return where each chain broke.

    Must run inside a transaction, which also arms them.
    """
    rows = await (await connection.execute(query("lock_unarmed_jobs"), {"job_ids": list(job_ids)})).fetchall()
    found = {row[0]: row for row in rows}
    cursor = await connection.execute(query("last_occurrences"), {"job_ids": list(found)})
    unarmed = []
    async for job_id, last in cursor:
        _, tenant_id, recurring, timezone, terms, runs_begun, created_at = found[job_id]
        unarmed.append(UnarmedJob(_, tenant_id, recurring, timezone, terms, runs_begun, last or created_at))
    return unarmed


async def complete(connection: Connection, job_ids: Sequence[UUID]) -> int:
    """Mark active jobs COMPLETED that have nothing left; returns how many."""
    return (await connection.execute(query("complete_jobs"), {"job_ids": list(job_ids)})).rowcount
