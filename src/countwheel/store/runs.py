"""Live runs: claimed, armed, finished and given back, in batches. Each row keeps its own fate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncCursor
from psycopg.rows import args_row, dict_row

from countwheel.domain import ids
from countwheel.domain.fingerprint import class_of_text, fingerprint
from countwheel.domain.notification import Defaults, url_told
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.target import recorded_host
from countwheel.store import notices
from countwheel.store.columns import NO_COLUMN, columns_of, in_lock_order
from countwheel.store.database import Connection
from countwheel.store.notices import Notice
from countwheel.store.queries import query

_Found = TypeVar("_Found")

ClaimSize = Literal[8, 64]
"""Runs a bucket and claim. A closed set: the number stands in the statement's text. With `LIMIT $1` the generic plan is
a hash join over the whole table.
"""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything is due."""

RUNS_A_TENANT = 8
"""What `claim_for_tenants` takes of each."""


class ClaimedRun(Struct, frozen=True):
    """A run that this node holds, with what its job says about the call. `attempt` counts the coming one."""

    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    trigger: str
    scheduled_for: datetime
    due_at: datetime
    attempt: int
    lost_attempts: int
    fence: int
    started_at: datetime | None
    cancel_reason: str | None
    """Why it is to end, where somebody has asked for that."""
    overlap: str | None
    """What a backfill says for itself; None for what the job says."""
    job_url: str
    job_payload: str
    call_method: str | None
    """Given for an errand: URL and payload are its own, and nothing else of what its job says is meant for it."""
    calling: str | None
    timeout_seconds: float
    max_attempts: int
    schedule_recurring: str | None
    timezone: str | None
    terms: str | None
    job_state: str
    delivery: str
    on_unknown: str
    runs_begun: int
    overlapping: bool
    claimed_at: datetime
    stale: bool
    """The job was changed after the claim read it: what is said about it here is out of date."""
    attempts_before: int | None
    """Of its attempts: those before it was redriven. They count for nothing in its retry policy. None: it was not."""
    tenant_on_failure: str | None
    """Who is told of its end where its job does not say."""
    tenant_on_success: str | None
    tenant_is_suspended: bool


class NewOccurrence(Struct, frozen=True):
    """The next run of a recurring job."""

    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    bucket: int
    scheduled_for: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run that somebody wants beside the schedule. `overlap` is what a backfill says for itself."""

    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    bucket: int
    trigger: str
    scheduled_for: datetime
    overlap: str | None
    job_version: int


def occurrence(job_id: UUID, tenant_id: UUID, instant: datetime, due_at: datetime) -> NewOccurrence:
    """Return the run of an occurrence, to be armed."""
    run_id = ids.run_id(job_id, instant, Trigger.SCHEDULE)
    return NewOccurrence(job_id, run_id, tenant_id, ids.bucket_of(run_id), instant, due_at)


class FinishedRun(Struct, frozen=True):
    """The end of a held run. `sent` tells whether its last attempt was made; `started_at` is that attempt's start."""

    job_id: UUID
    run_id: UUID
    fence: int
    status: str
    started_at: datetime | None
    finished_at: datetime
    http_status: int | None
    error: str | None
    response_head: bytes | None
    occurrences: int
    superseded_by: datetime | None
    last: bool
    """The schedule of its job names no occurrence after it."""
    sent: bool
    trace: str | None = None
    error_class: str | None = None
    response_headers: str | None = None
    fingerprint: str | None = None
    target: str | None = None
    told_url: Annotated[str | None, NO_COLUMN] = None
    """Who is told of this end. Where anybody is, the batch is to be finished in a transaction."""
    completion: str | None = None
    """What its target said at the end, where it had accepted the run."""


class RetriedRun(Struct, frozen=True):
    """A held run whose attempt failed and that is to be sent again at `due_at`."""

    job_id: UUID
    run_id: UUID
    fence: int
    due_at: datetime
    started_at: datetime
    finished_at: datetime
    http_status: int | None
    error: str
    response_head: bytes | None
    trace: str | None = None
    error_class: str | None = None
    response_headers: str | None = None


@dataclass(frozen=True, slots=True)
class HeldRun:
    """The right to a run: nothing is done to it unless its fence still matches."""

    job_id: UUID
    run_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class RunningRun:
    """A held run whose call is under way since `started_at`."""

    job_id: UUID
    run_id: UUID
    fence: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class RecoveredRun:
    """A run that was taken over from a lost node: to be sent again, or ended UNKNOWN at this fence and moment."""

    job_id: UUID
    run_id: UUID
    node_id: str
    fence: int
    is_unknown: bool
    reason: str
    trigger: str
    target: str
    calling: str | None
    tenant_on_failure: str | None
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Looked(Generic[_Found]):
    """What was found, and how long the database has taken to look."""

    found: _Found
    took_seconds: float


async def looked_at(cursor: AsyncCursor[Any], make: Callable[..., _Found]) -> Looked[list[_Found]]:
    """Return what a single row holds: an array for each column (NULL where there is nothing), and how long it took."""
    *columns, took_seconds = await cursor.fetchone() or (None, 0.0)
    return Looked([make(*values) for values in zip(*(column or () for column in columns), strict=True)], took_seconds)


async def _ids(cursor: AsyncCursor[Any]) -> set[UUID]:
    """Return the first column."""
    return set(map(itemgetter(0), await cursor.fetchall()))


async def claim(
    connection: Connection, *, node_id: str, look_ahead_seconds: float, size: ClaimSize, since: datetime = BEGINNING
) -> list[ClaimedRun]:
    """Take what is due within the look-ahead, `size` runs a bucket at the most, earliest first in each bucket.

    What was due before `since` is left. Must run in the transaction that also obeys the plan of each run
    (`countwheel.domain.planning`).
    """
    cursor = connection.cursor(row_factory=args_row(ClaimedRun), binary=True)
    parameters = {"node_id": node_id, "look_ahead_seconds": look_ahead_seconds, "since": since}
    await cursor.execute(query("claim", size=size), parameters)
    return await fresh(connection, await cursor.fetchall())


async def tenants_waiting(
    connection: Connection, *, look_ahead_seconds: float, since: datetime = BEGINNING
) -> list[UUID]:
    """Return the tenants that have a run which is due within the look-ahead, not before `since`, and nobody's."""
    cursor = await connection.execute(
        query("tenants_waiting"), {"look_ahead_seconds": look_ahead_seconds, "since": since}
    )
    return [row[0] async for row in cursor]


async def claim_for_tenants(
    connection: Connection,
    *,
    tenant_ids: Sequence[UUID],
    node_id: str,
    look_ahead_seconds: float,
    since: datetime = BEGINNING,
) -> list[ClaimedRun]:
    """Take what is due within the look-ahead for each of these tenants, RUNS_A_TENANT at the most, earliest first.

    Like `claim`, in the transaction that also obeys the plan of each run.
    """
    cursor = connection.cursor(row_factory=args_row(ClaimedRun), binary=True)
    await cursor.execute(
        query("claim_for_tenants", size=RUNS_A_TENANT),
        {
            "tenant_ids": list(tenant_ids),
            "node_id": node_id,
            "look_ahead_seconds": look_ahead_seconds,
            "since": since,
        },
    )
    return await fresh(connection, await cursor.fetchall())


async def fresh(connection: Connection, claimed: list[ClaimedRun]) -> list[ClaimedRun]:
    """Read again, now that the runs are locked, what a change of their job has made out of date (rare)."""
    stale = {run.job_id for run in claimed if run.stale}
    if not stale:
        return claimed
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query("job_definitions"), {"job_ids": list(stale)})
    definitions = {row.pop("job_id"): row async for row in cursor}
    for row in definitions.values():
        row["job_state"] = row.pop("state")
    return [_read_again(run, definitions[run.job_id]) if run.stale else run for run in claimed]


def _read_again(run: ClaimedRun, definition: dict[str, Any]) -> ClaimedRun:
    if run.call_method is not None:  # an errand has no more of its job than whether it is there
        return replace(run, stale=False)
    return replace(run, **definition, stale=False)


async def insert_occurrences(connection: Connection, occurrences: Sequence[NewOccurrence]) -> int:
    """Arm the next occurrences; returns how many were not there yet."""
    cursor = await connection.execute(
        query("insert_occurrences"),
        columns_of(occurrences, "job_ids", "run_ids", "tenant_ids", "buckets", "scheduled_fors", "due_ats"),
    )
    return cursor.rowcount


async def insert_wanted(connection: Connection, wanted: Sequence[WantedRun]) -> None:
    """Create runs that are due now, or at their instants where those are later."""
    await connection.execute(
        query("insert_wanted"),
        columns_of(
            wanted,
            *("job_ids", "run_ids", "tenant_ids", "buckets", "triggers", "scheduled_fors", "overlaps", "job_versions"),
        ),
    )


async def shelve(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Put off what is armed of those of these jobs that are paused, until they are resumed."""
    await connection.execute(query("shelve"), {"job_ids": list(job_ids)})


async def count_begun(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Count one more of the runs that `max_runs` allows, for each of these jobs."""
    await connection.execute(query("count_begun"), {"job_ids": list(job_ids)})


async def finish(connection: Connection, batch: Sequence[FinishedRun]) -> set[UUID]:
    """Move ended runs into the ledger and return the ids of those whose fence still matched.

    Whoever is to be told of one (`told_url`) is told by a run of its own, written in the same transaction: where a
    batch has such an end, the caller must have begun one.
    """
    cursor = await connection.execute(
        query("finish"),
        columns_of(
            in_lock_order(batch),
            *(
                "job_ids",
                "run_ids",
                "fences",
                "statuses",
                "started_ats",
                "finished_ats",
                "http_statuses",
                "errors",
            ),
            *("response_heads", "occurrences", "superseded_bys", "lasts", "sent"),
            *("traces", "error_classes", "response_headers", "fingerprints", "targets", "completions"),
        ),
    )
    ended = await _ids(cursor)
    told = [(run, run.told_url) for run in batch if run.told_url is not None and run.run_id in ended]
    if told:
        await notices.insert(
            connection, [Notice(run.job_id, run.run_id, run.fence, run.finished_at, url) for run, url in told]
        )
    return ended


async def retry(connection: Connection, batch: Sequence[RetriedRun], *, node_id: str) -> set[UUID]:
    """Give runs back to be sent again later and return the ids of those whose fence still matched."""
    columns = columns_of(
        in_lock_order(batch),
        *(
            "job_ids",
            "run_ids",
            "fences",
            "due_ats",
            "started_ats",
            "finished_ats",
            "http_statuses",
            "errors",
        ),
        *("response_heads", "traces", "error_classes", "response_headers"),
    )
    cursor = await connection.execute(query("retry"), columns | {"node_id": node_id})
    return await _ids(cursor)


async def mark_running(connection: Connection, batch: Sequence[RunningRun]) -> set[UUID]:
    """Write down that calls are under way; return the ids of those whose fence still matched and that were not yet."""
    cursor = await connection.execute(
        query("mark_running"), columns_of(in_lock_order(batch), "job_ids", "run_ids", "fences", "started_ats")
    )
    return await _ids(cursor)


async def release(connection: Connection, batch: Sequence[HeldRun]) -> set[UUID]:
    """Hand back what was not sent and return the ids of those whose fence still matched."""
    cursor = await connection.execute(
        query("release"), columns_of(in_lock_order(batch), "job_ids", "run_ids", "fences")
    )
    return await _ids(cursor)


async def recover(connection: Connection) -> list[RecoveredRun]:
    """Take over what lost and stopped nodes still hold: due again at once, with a higher fence.

    Must run in a transaction: what ends UNKNOWN here is told of, and what it looks like is written down, after that.
    """
    cursor = connection.cursor(row_factory=args_row(RecoveredRun))
    await cursor.execute(query("recover"))
    recovered = await cursor.fetchall()
    if unknown := [run for run in recovered if run.is_unknown]:
        await _mark_failures(connection, unknown)
        urls = [
            url_told(RunStatus.UNKNOWN, run.trigger, run.calling, Defaults(run.tenant_on_failure)) for run in unknown
        ]
        told = [
            Notice(run.job_id, run.run_id, run.fence, run.taken_at, url)
            for run, url in zip(unknown, urls, strict=True)
            if url is not None
        ]
        await notices.insert(connection, told)
    return recovered


async def _mark_failures(connection: Connection, unknown: Sequence[RecoveredRun]) -> None:
    classes = [class_of_text(run.reason) for run in unknown]
    await connection.execute(
        query("mark_failures"),
        {
            "job_ids": [run.job_id for run in unknown],
            "run_ids": [run.run_id for run in unknown],
            "fences": [run.fence for run in unknown],
            "fingerprints": [
                fingerprint(run.target, kind, run.reason) for run, kind in zip(unknown, classes, strict=True)
            ],
            "error_classes": classes,
            "targets": [recorded_host(run.target) for run in unknown],
            "finished_ats": [run.taken_at for run in unknown],
        },
    )


async def count_earlier(connection: Connection, run: ClaimedRun) -> int:
    """Return how many live runs of a job are earlier than one of its runs and in its way."""
    parameters = {
        "job_id": run.job_id,
        "run_id": run.run_id,
        "of_backfill": run.trigger == Trigger.BACKFILL,
        "is_redriven": run.attempts_before is not None,
    }
    row = await (await connection.execute(query("earlier_runs"), parameters)).fetchone()
    return int(row[0]) if row else 0


async def let_wait(connection: Connection, held: HeldRun, seconds: float) -> bool:
    """Hand back a run until the earlier ones of its job have ended, or for `seconds`; False if its fence has risen."""
    parameters = {"job_id": held.job_id, "run_id": held.run_id, "fence": held.fence, "seconds": seconds}
    return (await connection.execute(query("let_wait"), parameters)).rowcount == 1


async def wake(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Make the earliest waiting run of each job due: a run that it waited for has ended."""
    await connection.execute(query("wake"), {"job_ids": list(job_ids)})


async def cancel_requests(connection: Connection, node_id: str) -> dict[UUID, str | None]:
    """Return the ids of the runs that this node holds and has been asked to stop, and why."""
    cursor = await connection.execute(query("cancel_requests"), {"node_id": node_id})
    return {row[0]: row[1] async for row in cursor}


async def held_by(connection: Connection, node_id: str) -> Looked[list[HeldRun]]:
    """Return every run that the database says this node holds."""
    return await looked_at(await connection.execute(query("held_by_node"), {"node_id": node_id}), HeldRun)


async def still_held_by(connection: Connection, node_id: str, wanted: Sequence[HeldRun]) -> list[HeldRun]:
    """Return those of these runs that the database says this node holds, by the same fence."""
    cursor = await connection.execute(query("holders"), columns_of(wanted, "job_ids", "run_ids", "fences"))
    return [HeldRun(*row[:3]) async for row in cursor if row[3] == node_id]


async def next_due(connection: Connection, *, since: datetime = BEGINNING) -> Looked[datetime | None]:
    """Return when the next unclaimed run is due, of those that are not due before `since`."""
    row = await (await connection.execute(query("next_due"), {"since": since})).fetchone()
    return Looked(*(row or (None, 0.0)))
