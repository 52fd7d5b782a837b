"""What a claim does with the runs that it has taken: each is planned, and its plan obeyed, in the claim's transaction.

Claiming a recurring job's run and inserting its next occurrence are one transaction: a chain that is not re-armed is a
silent stop. What planning decides not to send is ended in the same transaction, with its reason; what has to wait for
its target's pace goes into a lane.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from msgspec.structs import replace

from countwheel.domain import ids, planning
from countwheel.domain.cancelled import Cancelled, UnreadError
from countwheel.domain.job import JobStatus
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import decode
from countwheel.engine.pieces import pieces
from countwheel.store import errands, runs, targets
from countwheel.store.cancelled import CancelledOccurrences, plan_with
from countwheel.store.database import Connection
from countwheel.store.endings import complete
from countwheel.store.errands import Errand
from countwheel.store.runs import ClaimedRun, FinishedRun, NewOccurrence
from countwheel.store.targets import SetAsideRun

_log = structlog.get_logger(__name__)

# Looked up for every run: a fourth of what asking the class costs.
_JOB_STATUS = {status.value: status for status in JobStatus}
_TRIGGERS = {trigger.value: trigger for trigger in Trigger}

KeepBack = Callable[[ClaimedRun], SetAsideRun | None]
"""Says how a run waits that is not to be sent now; None where it is."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a claim."""

    to_send: list[ClaimedRun]
    fullest: int
    """How many of one bucket were claimed, at the most; those that are not to be sent count, too."""
    claimed_by: str
    """The incarnation that has the right to them. By the time that the claim is answered the node may be another."""
    is_behind: bool
    """The next occurrence of a job is due already: it is catching up."""
    arming: frozenset[int] = frozenset()
    """Those whose claim has armed the next occurrence of their job, by the number that a run's id is."""


NOTHING = Taken([], 0, "", is_behind=False)


class _Planned(NamedTuple):
    run: ClaimedRun
    plan: planning.Plan


async def obey_plans(
    connection: Connection, claimed: Sequence[ClaimedRun], keep_back: KeepBack, *, node_id: str
) -> Taken:
    """Plan each run and do what its plan says, in the transaction that has claimed them."""
    if not claimed:
        return NOTHING
    planned = await _plan_all(connection, claimed)
    arming = [entry for entry in planned if entry.plan.following is not None]
    occurrences: list[NewOccurrence] = []
    async for piece in pieces(arming):
        occurrences += [_occurrence(entry.run, entry.plan.following) for entry in piece if entry.plan.following]
    if occurrences:
        await runs.insert_occurrences(connection, occurrences)
    if counting := [entry.run.job_id for entry in planned if entry.plan.counts]:
        await runs.count_begun(connection, counting)
    if endings := [complete(entry.run, _finished(entry)) for entry in planned if entry.plan.ending is not None]:
        await runs.finish(connection, endings)
        await errands.insert(connection, [told for entry in planned for told in _cancellation(entry)])
    to_send = [entry.run for entry in planned if entry.plan.ending is None]
    kept_back = [aside for run in to_send if (aside := keep_back(run)) is not None]
    if kept_back:
        await targets.set_aside(connection, kept_back, node_id=node_id)
        waiting = {aside.run_id for aside in kept_back}
        to_send = [run for run in to_send if run.run_id not in waiting]
    return Taken(
        to_send,
        fullest=max(Counter([ids.bucket_of(run.run_id) for run in claimed]).values()),
        claimed_by=node_id,
        is_behind=any(map(_is_behind, arming)),
        arming=frozenset([entry.run.run_id.int for entry in arming]),
    )


async def _plan_all(connection: Connection, claimed: Sequence[ClaimedRun]) -> list[_Planned]:
    async def plan(cancelled: CancelledOccurrences) -> tuple[list[_Planned], dict[UUID, datetime]]:
        planned: list[_Planned] = []
        unread: dict[UUID, datetime] = {}
        async for piece in pieces(claimed):
            for run in piece:
                try:
                    planned.append(_counted(_Planned(run, _plan(run, cancelled.of(run.job_id)))))
                except UnreadError as gap:
                    unread[run.job_id] = gap.instant
        return planned, unread

    # Statements of their own: their snapshots are later than the claim's locks (see store/cancellation.py).
    return await plan_with(connection, {run.job_id: run.scheduled_for for run in claimed if _is_arming(run)}, plan)


def _plan(run: ClaimedRun, cancelled: Cancelled) -> planning.Plan:
    if planning.is_sent_as_it_is(run, run.claimed_at):
        return planning.AS_IT_IS
    try:
        candidate = planning.Candidate(
            scheduled_for=run.scheduled_for,
            due_at=run.due_at,
            first_claim=run.fence == 1,
            job_status=_JOB_STATUS[run.job_state],
            begun=run.attempt > 1 or run.attempts_before is not None,
            cancel_reason=run.cancel_reason,
            lost_attempts=run.lost_attempts,
            schedule=recurring_of(run) if run.trigger == Trigger.SCHEDULE else None,
            terms=decode(run.terms),
            trigger=_TRIGGERS[run.trigger],
            runs_begun=run.runs_begun,
            tenant_is_suspended=run.tenant_is_suspended,
        )
        return planning.plan(candidate, now=run.claimed_at, cancelled=cancelled)
    except UnreadError:
        raise
    except Exception as error:  # noqa: BLE001 (said in the ledger and in the log)
        # One poison row must not stop the batch: it is parked with its reason, the rest go on.
        _log.exception("run cannot be planned and is parked", run_id=str(run.run_id), job_id=str(run.job_id))
        return planning.Plan(planning.Ending(RunStatus.FAILED, f"parked: it cannot be planned ({error})"))


def _is_arming(run: ClaimedRun) -> bool:
    return run.schedule_recurring is not None and run.fence == 1 and run.trigger == Trigger.SCHEDULE


def _is_behind(entry: _Planned) -> bool:
    """Whether the occurrence that was armed is due already: its job is catching up."""
    return entry.plan.following is not None and entry.plan.following <= entry.run.claimed_at


def _counted(entry: _Planned) -> _Planned:
    """Let a run that counts know of itself: whether it is the last is asked when it ends."""
    if not entry.plan.counts:
        return entry
    return _Planned(replace(entry.run, runs_begun=entry.run.runs_begun + 1), entry.plan)


def _occurrence(run: ClaimedRun, following: datetime) -> NewOccurrence:
    schedule = recurring_of(run)
    due_at = following if schedule is None else schedule.due_at(following)
    return runs.occurrence(run.job_id, run.tenant_id, following, due_at)


def _cancellation(entry: _Planned) -> list[Errand]:
    """Return what tells a target that a run which was sent to it before is cancelled."""
    run, ending = entry.run, entry.plan.ending
    if ending is None or ending.status is not RunStatus.CANCELED or run.started_at is None:
        return []
    return errands.cancellation_of(run, attempt=run.attempt - 1, reason=ending.reason, moment=run.claimed_at)


def _finished(entry: _Planned) -> FinishedRun:
    ending = entry.plan.ending
    if ending is None:
        raise AssertionError("only for plans with an ending")
    return FinishedRun(
        job_id=entry.run.job_id,
        run_id=entry.run.run_id,
        fence=entry.run.fence,
        status=ending.status,
        started_at=None,
        finished_at=entry.run.claimed_at,
        http_status=None,
        error=ending.reason,
        response_head=None,
        occurrences=ending.occurrences,
        superseded_by=ending.superseded_by,
        last=planning.ends_its_schedule(entry.run),
        sent=False,
    )
