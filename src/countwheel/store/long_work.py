"""Accepted runs: taken over by a target, which says later how it went, or falls silent.

While a target works its run has the reserved holder `target`: no node holds it, and none of their deaths touches it.
Whoever decides about such a run locks its row first; of a completion, a cancel and a missed deadline the first to have
the lock wins, and the others find what it has written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain import long_work
from countwheel.domain.attempt import FailureKind
from countwheel.domain.calling import decode, retry_policy
from countwheel.domain.long_work import Attempts, Completion, Counts, Refused, Silence, Standing
from countwheel.domain.outcome import AttemptsSoFar, Failed, Outcome, RetryAt, Unknown
from countwheel.domain.planning import ends_its_schedule
from countwheel.domain.run import RunStatus
from countwheel.store import endings, errands, resolution, runs
from countwheel.store.columns import columns_of, in_lock_order
from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.runs import FinishedRun

_ACCEPTED_STATUS = 202
_BY_TARGET = "target"


@dataclass(frozen=True, slots=True)
class AcceptedRun:
    """A held run that its target has taken over. `started_at` is the attempt's start."""

    job_id: UUID
    run_id: UUID
    fence: int
    started_at: datetime
    deadline_seconds: float
    heartbeat_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Run:
    """A live run, locked, with what its job says of its attempts."""

    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    trigger: str
    state: str
    scheduled_for: datetime
    attempt: int
    lost_attempts: int
    attempts_before: int
    """Those before it was redriven: they do not count any more."""
    fence: int
    started_at: datetime | None
    accepted_at: datetime | None
    deadline_at: datetime | None
    heartbeat_seconds: float | None
    sent_by: str | None
    cancel_reason: str | None
    job_url: str
    call_method: str | None
    calling: str | None
    max_attempts: int
    delivery: str
    on_unknown: str
    schedule_recurring: str | None
    timezone: str | None
    terms: str | None
    runs_begun: int
    tenant_on_failure: str | None
    tenant_on_success: str | None
    now: datetime

    @property
    def http_status(self) -> int | None:
        """What its call was answered with, as far as it is on record."""
        return None if self.accepted_at is None else _ACCEPTED_STATUS

    def attempts(self, jitter: float) -> Attempts:
        """Return what decides whether it is tried again."""
        return Attempts(
            retry_policy(self.max_attempts, self.delivery, self.on_unknown, decode(self.calling).retry),
            AttemptsSoFar(self.attempt - self.attempts_before - self.lost_attempts, self.started_at or self.now),
            self.now,
            jitter,
        )


@dataclass(frozen=True, slots=True)
class _Again:
    job_id: UUID
    run_id: UUID
    fence: int
    due_at: datetime
    started_at: datetime | None
    http_status: int | None
    node_id: str | None
    error: str
    error_class: str


@dataclass(frozen=True, slots=True)
class Completed:
    """A completion counts: the run stands, or has ended, as it says. `resolution` is given where it came too late."""

    status: str
    resolution: str | None = None


@dataclass(frozen=True, slots=True)
class NotCompleted:
    """A completion does not count: the run stands, or has ended, otherwise."""

    status: str
    why: str


@dataclass(frozen=True, slots=True)
class WorkGoesOn:
    """A heartbeat was taken. Both times are None while the call's own answer is not on record yet."""

    deadline_at: datetime | None = None
    heartbeat_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkIsOver:
    """Nobody waits for this attempt any more."""

    status: str


async def accept(connection: Connection, batch: Sequence[AcceptedRun], *, node_id: str) -> set[UUID]:
    """Hand held runs to their targets and return the ids of those whose fence still matched."""
    columns = columns_of(in_lock_order(batch), "job_ids", "run_ids", "fences", "started_ats", "deadlines", "heartbeats")
    cursor = await connection.execute(query("accept"), columns | {"node_id": node_id})
    return {row[0] async for row in cursor}


async def complete(
    connection: Connection, at: tuple[UUID, UUID, UUID], completion: Completion, fence: int | None, *, jitter: float
) -> Completed | NotCompleted | None:
    """Let a run go by what is said of it; None where there is no such run.

    `at` is (tenant, job, run); `fence` the attempt that it is said of, None for the run as a whole; `jitter` as in
    `outcome.decide`. Must run in a transaction.
    """
    tenant_id, job_id, run_id = at
    named = {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
    cursor = connection.cursor(row_factory=args_row(_Run))
    await cursor.execute(query("lock_for_completion"), named)
    run = await cursor.fetchone()
    if run is None:
        return await _of_the_ended(connection, at, completion, fence)
    match long_work.weigh(completion, _standing(run), fence):
        case Counts() if not completion.succeeded and await _has_later_attempt(connection, named, fence):
            return NotCompleted(run.state, "a later attempt of it has failed since")
        case Counts():
            return Completed(await _go_by(connection, run, completion, jitter))
        case Refused(why):
            if completion.retry and fence is not None and await _was_said(connection, named, completion, fence):
                return Completed(RunStatus.RETRYING)
            return NotCompleted(run.state, why)
        case _:
            return Completed(run.state)


async def heartbeat(
    connection: Connection, at: tuple[UUID, UUID, UUID], progress: str | None, fence: int | None
) -> WorkGoesOn | WorkIsOver | None:
    """Take note that a target is at work, and tell whether anybody waits for it; None where there is no such run."""
    tenant_id, job_id, run_id = at
    named = {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
    cursor = await connection.execute(query("heartbeat"), named | {"progress": progress, "fence": fence})
    if (row := await cursor.fetchone()) is not None:
        return WorkGoesOn(*row)
    standing = await (await connection.execute(query("find_standing"), named)).fetchone()
    if standing is None:
        return None
    status, current, is_over, *_ = standing
    if status == RunStatus.RUNNING and not is_over and fence in {None, current}:
        return WorkGoesOn()
    return WorkIsOver(status)


async def end_overdue(connection: Connection, uniform: Sequence[float]) -> dict[str, int]:
    """Decide about the accepted runs that are overdue, as many as there are numbers from 0 to 1 in `uniform`.

    Returns how many became what. Must run in a transaction.
    """
    cursor = connection.cursor(row_factory=args_row(_Run))
    await cursor.execute(query("lock_overdue", size=len(uniform)))
    became: dict[str, int] = {}
    for run, jitter in zip(await cursor.fetchall(), uniform, strict=False):
        if run.cancel_reason is not None:
            await _cancel(connection, run, run.cancel_reason)
            status = RunStatus.CANCELED
        else:
            outcome = long_work.decide_overdue(_silence(run), run.attempts(jitter))
            status = await _apply(connection, run, outcome, FailureKind.OVERDUE, None)
        became[status] = became.get(status, 0) + 1
    return became


async def _go_by(connection: Connection, run: _Run, completion: Completion, jitter: float) -> RunStatus:
    if completion.succeeded:
        if run.started_at is None:
            run = replace(run, started_at=await _find_first_start(connection, run))
        await _end(connection, run, RunStatus.SUCCEEDED, None, completion=completion.encode())
        return RunStatus.SUCCEEDED
    outcome = long_work.decide_reported(completion, run.attempts(jitter))
    return await _apply(connection, run, outcome, FailureKind.REPORTED, completion.encode())


async def _find_first_start(connection: Connection, run: _Run) -> datetime:
    """Return when a run was sent that waits to be sent again, redriven."""
    named = {"tenant_id": run.tenant_id, "job_id": run.job_id, "run_id": run.run_id}
    row = await (await connection.execute(query("find_first_start"), named)).fetchone()
    return row[0] if row and row[0] is not None else run.now


async def _apply(
    connection: Connection, run: _Run, outcome: Outcome, kind: FailureKind, completion: str | None
) -> RunStatus:
    match outcome:
        case RetryAt(due_at, error):
            await _try_again(connection, run, due_at, error, kind)
            return RunStatus.RETRYING
        case Failed(error):
            await _end(connection, run, RunStatus.FAILED, error, error_class=kind, completion=completion)
            return RunStatus.FAILED
        case Unknown(error):
            await _end(connection, run, RunStatus.UNKNOWN, error, error_class=kind, completion=completion)
            return RunStatus.UNKNOWN
        case _:
            raise AssertionError(f"no failure succeeds: {outcome}")


async def _end(connection: Connection, run: _Run, status: RunStatus, error: str | None, **said: str | None) -> None:
    """End a run; `said` is its completion, and the class of its error."""
    finished = FinishedRun(
        job_id=run.job_id,
        run_id=run.run_id,
        fence=run.fence,
        status=status,
        started_at=run.started_at if run.attempt == 1 or status is RunStatus.SUCCEEDED else None,
        finished_at=run.now,
        http_status=run.http_status,
        error=error,
        response_head=None,
        occurrences=1,
        superseded_by=None,
        last=ends_its_schedule(run),
        sent=run.state != RunStatus.CLAIMED,
        **said,
    )
    await runs.finish(connection, [endings.complete(run, finished)])
    await runs.wake(connection, [run.job_id])


async def _cancel(connection: Connection, run: _Run, reason: str) -> None:
    await _end(connection, run, RunStatus.CANCELED, reason)
    told = errands.cancellation_of(run, attempt=run.attempt, reason=reason, moment=run.now)
    await errands.insert(connection, told)


async def _try_again(connection: Connection, run: _Run, due_at: datetime, error: str, kind: FailureKind) -> None:
    started_at = run.started_at if run.attempt == 1 else None
    again = _Again(run.job_id, run.run_id, run.fence, due_at, started_at, run.http_status, run.sent_by, error, kind)
    columns = columns_of(
        [again],
        *("job_ids", "run_ids", "fences", "due_ats", "started_ats", "http_statuses", "node_ids", "errors"),
        "error_classes",
    )
    await connection.execute(query("try_again"), columns)


async def _of_the_ended(
    connection: Connection, at: tuple[UUID, UUID, UUID], completion: Completion, fence: int | None
) -> Completed | NotCompleted | None:
    """Tell of a run that has ended: the same completion again counts, any other one comes too late.

    Of one that ended UNKNOWN its target's word is what a person would have had to find out: it resolves the run. (Not
    that an earlier attempt failed.)
    """
    tenant_id, job_id, run_id = at
    named = {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id}
    row = await (await connection.execute(query("find_end"), named)).fetchone()
    if row is None:
        return None
    status, said, resolved = row
    if said is not None and said == completion.encode():
        return Completed(status)
    speaks_of_it = completion.succeeded or not await _has_later_attempt(connection, named, fence)
    if status == RunStatus.UNKNOWN and fence is not None and speaks_of_it:
        if resolved is None:
            note = completion.error or "said by its target, later than its deadline"
            await resolution.resolve(
                connection, tenant_id, job_id, run_id, outcome=completion.status, by=_BY_TARGET, note=note
            )
            resolved = completion.status
        if resolved == completion.status:
            return Completed(status, resolved)
    if completion.retry and fence is not None and await _was_said(connection, named, completion, fence):
        return Completed(RunStatus.RETRYING)
    return NotCompleted(status, "it has ended")


async def _has_later_attempt(connection: Connection, named: dict[str, UUID], fence: int | None) -> bool:
    """Whether an attempt after the one with this fence is on record; with None, what is said is of the run."""
    if fence is None:
        return False
    cursor = await connection.execute(query("find_later_attempt"), named | {"fence": fence})
    return await cursor.fetchone() is not None


async def _was_said(connection: Connection, named: dict[str, UUID], completion: Completion, fence: int) -> bool:
    """Whether a failure was reported by that attempt before, in the same words: the run was tried again then."""
    row = await (await connection.execute(query("find_attempt_error"), named | {"fence": fence})).fetchone()
    return row is not None and row[0] == completion.reason


def _standing(run: _Run) -> Standing:
    return Standing(
        state=RunStatus(run.state),
        fence=run.fence,
        is_accepted=run.accepted_at is not None,
        was_sent=run.started_at is not None,
        has_callback=decode(run.calling).callback is not None,
        was_sent_before=run.attempts_before > 0,
    )


def _silence(run: _Run) -> Silence:
    if run.accepted_at is None or run.deadline_at is None:
        raise AssertionError("only accepted runs are overdue")
    return Silence(run.accepted_at, run.deadline_at, run.heartbeat_seconds)
