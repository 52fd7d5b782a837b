"""Looks for what must never be, and mends it: an active recurring job with no live run (a chain that is not re-armed is
silent), a cancelled occurrence that is not in the ledger. A job whose schedule has ended is COMPLETED here, where the
end of its last run did not do it.

A round looks at a bite of the jobs, by id, and the next one goes on from there: to look at all at once would keep
a core of the database busy for long where there are many, and a node that is busy falls behind meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from countwheel.domain.cancelled import UnreadError
from countwheel.domain.planning import is_used_up, next_occurrence
from countwheel.domain.schedule import recurring_of
from countwheel.engine.context import Context
from countwheel.engine.pieces import pieces
from countwheel.store import cancellation, jobs, runs
from countwheel.store.cancelled import CancelledOccurrences, plan_with
from countwheel.store.jobs import UnarmedJob
from countwheel.store.listing import FIRST_ID
from countwheel.store.runs import NewOccurrence

_log = structlog.get_logger(__name__)


_BITE = 1_000
"""How many jobs a round looks at."""
_SHARE = 20
"""One part in so many of the database's time is for sweeps, at the most. A sweep of ten million jobs takes its time."""


class Sweeper:
    """Re-arms broken chains, completes the ledger, and says so loudly."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._after = FIRST_ID
        self._began = float("-inf")

    async def run_once(self) -> float:
        """Look at the next jobs, and arm each that is unarmed from where its chain broke. Returns seconds to wait."""
        clock, every = self._context.clock, self._context.settings.sweep_every_seconds
        if self._after == FIRST_ID:
            self._began = clock.monotonic()
            await self._account_for_forgotten()
        async with self._context.database.connection() as connection:
            bite = await jobs.find_unarmed(connection, after=self._after, many=_BITE)
        self._after = bite.last or FIRST_ID  # whatever becomes of these: they must not keep the others unarmed
        if bite.unarmed:
            await self._arm(bite.unarmed)
        pause = _SHARE * bite.took_seconds
        return pause if bite.last is not None else max(pause, self._began + every - clock.monotonic())

    async def _arm(self, job_ids: Sequence[UUID]) -> None:
        async with self._context.database.transaction() as connection:
            unarmed = await jobs.lock_unarmed(connection, job_ids)
            since = {job.job_id: job.last for job in unarmed}
            occurrences, at_their_end = await plan_with(connection, since, partial(_plan, unarmed))
            if occurrences:
                await runs.insert_occurrences(connection, occurrences)
                await runs.shelve(connection, [entry.job_id for entry in occurrences])
            if at_their_end:
                await jobs.complete(connection, at_their_end)
        if occurrences:
            _log.error("jobs without a live run were armed again", jobs=[str(entry.job_id) for entry in occurrences])

    async def _account_for_forgotten(self) -> None:
        async with self._context.database.transaction() as connection:
            forgotten = await cancellation.account_for_forgotten(connection)
        if forgotten:
            _log.warning("cancels that a crash cut short were written down", count=forgotten)


async def _plan(
    unarmed: Sequence[UnarmedJob], cancelled: CancelledOccurrences
) -> tuple[tuple[list[NewOccurrence], list[UUID]], dict[UUID, datetime]]:
    """Return what is to be armed with the jobs that have nothing left, and from where on to read more of others."""
    occurrences: list[NewOccurrence] = []
    at_their_end: list[UUID] = []
    unread: dict[UUID, datetime] = {}
    async for piece in pieces(unarmed):
        for job in piece:
            try:
                schedule = recurring_of(job)
                instant = next_occurrence(schedule, job.last, cancelled.of(job.job_id)) if schedule else None
            except UnreadError as gap:
                unread[job.job_id] = gap.instant
                continue
            except Exception as error:  # noqa: BLE001 (said in the log; one poison row must not keep the others unarmed)
                _log.exception(
                    "job cannot be armed: its schedule means nothing", job_id=str(job.job_id), error=str(error)
                )
                continue
            if schedule is None or instant is None or is_used_up(schedule.terms, job.runs_begun):
                at_their_end.append(job.job_id)
                continue
            occurrences.append(runs.occurrence(job.job_id, job.tenant_id, instant, schedule.due_at(instant)))
    return (occurrences, at_their_end), unread
