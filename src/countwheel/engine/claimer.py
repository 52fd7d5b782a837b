"""Takes due runs for this node a little ahead of their time, and keeps every chain going.

Claiming a recurring job's run and inserting its next occurrence are one transaction: a chain that is not re-armed is a
silent stop. What planning decides not to send is ended in the same transaction, with its reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from countwheel.domain import ids, planning
from countwheel.domain.job import JobStatus
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import decode
from countwheel.engine.context import Context
from countwheel.engine.held import Held
from countwheel.engine.timer import Timer
from countwheel.engine.turns import reserved
from countwheel.store import errands, runs
from countwheel.store.database import Connection
from countwheel.store.errands import Errand
from countwheel.store.runs import ClaimedRun, ClaimSize, FinishedRun, NewOccurrence

_log = structlog.get_logger(__name__)

_SMALL: ClaimSize = 8
_LARGE: ClaimSize = 64
_FAIR_EVERY_SECONDS = 0.2


class _Take(Protocol):
    """A way to claim."""

    async def __call__(
        self, connection: Connection, /, *, node_id: str, look_ahead_seconds: float
    ) -> list[ClaimedRun]: ...


@dataclass(frozen=True, slots=True)
class _Planned:
    run: ClaimedRun
    plan: planning.Plan


class Claimer:
    """Claims within the look-ahead, as long as there is room.

    Earliest first, whosever it is. As long as more is due than is claimed, a second way is gone beside it: a few runs
    of each tenant that holds little here, in room that is kept for that. A flood of one tenant delays no other.
    """

    def __init__(self, context: Context, timer: Timer) -> None:
        self._context = context
        self._timer = timer
        self._more_is_due = True
        self._fair_again_at = float("-inf")
        self._last_served: UUID | None = None
        self._stopped = False
        self._is_behind = False

    async def stop(self) -> None:
        """Claim no more; returns when a claim that is under way has ended, so that none is left in the dark."""
        self._stopped = True
        async with self._context.claiming:
            pass

    async def run_once(self) -> float:
        """Claim one batch, if anything is due and there is room. Returns seconds to wait."""
        async with self._context.claiming:
            return await self._claim_some()

    async def _claim_some(self) -> float:
        settings = self._context.settings
        if self._stopped or not self._context.node.has_lease():
            return settings.poll_every_seconds / 5
        if self._more_is_due and self._context.clock.monotonic() >= self._fair_again_at:
            await self._claim_fairly()
        room = settings.max_held - reserved(settings.max_held) - len(self._context.held)
        if room < _SMALL * ids.BUCKETS:
            self._more_is_due = True
            return settings.poll_every_seconds / 5
        if not self._more_is_due and not await self._is_anything_due():
            return self._context.settings.poll_every_seconds
        size = _LARGE if room >= _LARGE * ids.BUCKETS else _SMALL
        claimed = await self._claim(partial(runs.claim, size=size))
        # A full bucket may hide more, and so may a chain that is behind; otherwise the next look is soon enough.
        self._more_is_due = len(claimed) >= size or self._is_behind
        for run in claimed:
            self._take_in(run)
        return 0.0 if self._more_is_due else self._context.settings.poll_every_seconds

    async def _is_anything_due(self) -> bool:
        async with self._context.database.connection() as connection:
            next_due = await runs.next_due(connection)
        if next_due is None:
            return False
        horizon = timedelta(seconds=self._context.settings.look_ahead_seconds)
        return next_due <= self._context.database_time.at(self._context.clock.monotonic()) + horizon

    async def _claim_fairly(self) -> None:
        """Claim a little for each tenant that waits and holds little here."""
        settings, held = self._context.settings, self._context.held
        self._fair_again_at = self._context.clock.monotonic() + _FAIR_EVERY_SECONDS
        places = (settings.max_held - len(held)) // runs.RUNS_A_TENANT
        many = reserved(settings.max_held) // 4
        crowded = {tenant for tenant, count in Counter(each.run.tenant_id for each in held).items() if count >= many}
        async with self._context.database.connection() as connection:
            waiting = await runs.tenants_waiting(connection, look_ahead_seconds=settings.look_ahead_seconds)
        chosen = self._in_turn([tenant for tenant in waiting if tenant not in crowded])[:places]
        if not chosen or len(waiting) == 1:  # one tenant alone: nobody to be fair to
            return
        self._last_served = chosen[-1]
        for run in await self._claim(partial(runs.claim_for_tenants, tenant_ids=chosen)):
            self._take_in(run)

    def _in_turn(self, tenants: list[UUID]) -> list[UUID]:
        """Return tenants beginning after the one that was served last, so that a crowd of them is served in turns."""
        last = self._last_served
        return sorted(tenants, key=lambda tenant: (last is not None and tenant <= last, tenant))

    async def _claim(self, take: _Take) -> list[ClaimedRun]:
        """Claim and obey the plans in one transaction; return what is to be sent."""
        async with self._context.database.transaction() as connection:
            claimed = await take(
                connection,
                node_id=self._context.node.node_id,
                look_ahead_seconds=self._context.settings.look_ahead_seconds,
            )
            if not claimed:
                return []
            planned = await self._plan(connection, claimed)
            occurrences = [_occurrence(entry, entry.plan.following) for entry in planned if entry.plan.following]
            if occurrences:
                await runs.insert_occurrences(connection, occurrences)
            if counting := [entry.run.job_id for entry in planned if entry.plan.counts]:
                await runs.count_begun(connection, counting)
            endings = [_finished(entry) for entry in planned if entry.plan.ending is not None]
            if endings:
                await runs.finish(connection, endings)
                await errands.insert(connection, [told for entry in planned for told in _cancellation(entry)])
        self._is_behind = any(_is_behind(entry) for entry in planned)
        return [entry.run for entry in planned if entry.plan.ending is None]

    async def _plan(self, connection: Connection, claimed: Sequence[ClaimedRun]) -> list[_Planned]:
        arming = [run.job_id for run in claimed if _is_arming(run)]
        # A statement of its own: its snapshot is later than the claim's locks (see store/cancellation.py).
        cancelled = await runs.find_cancelled(connection, arming) if arming else {}
        return [_counted(_Planned(run, _plan(run, cancelled))) for run in claimed]

    def _take_in(self, run: ClaimedRun) -> None:
        held = Held(run, self._context.database_time.monotonic_of(run.due_at))
        self._context.held.add(held)
        self._timer.hold(held)


def _plan(run: ClaimedRun, cancelled: dict[UUID, frozenset[datetime]]) -> planning.Plan:
    try:
        candidate = planning.Candidate(
            scheduled_for=run.scheduled_for,
            due_at=run.due_at,
            first_claim=run.fence == 1,
            job_status=JobStatus(run.job_state),
            begun=run.attempt > 1,
            cancel_reason=run.cancel_reason,
            lost_attempts=run.lost_attempts,
            schedule=recurring_of(run) if run.trigger == Trigger.SCHEDULE else None,
            terms=decode(run.terms),
            trigger=Trigger(run.trigger),
            runs_begun=run.runs_begun,
        )
        return planning.plan(candidate, now=run.claimed_at, cancelled=cancelled.get(run.job_id, frozenset()))
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
    return replace(entry, run=replace(entry.run, runs_begun=entry.run.runs_begun + 1)) if entry.plan.counts else entry


def _occurrence(entry: _Planned, following: datetime) -> NewOccurrence:
    schedule = recurring_of(entry.run)
    due_at = following if schedule is None else schedule.due_at(following)
    return runs.occurrence(entry.run.job_id, entry.run.tenant_id, following, due_at)


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
        last=entry.run.trigger == Trigger.SCHEDULE
        and planning.is_last(entry.run.scheduled_for, entry.run, entry.run.runs_begun),
        sent=False,
    )
