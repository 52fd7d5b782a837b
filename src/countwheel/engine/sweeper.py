"""Looks for what must never be, and mends it: an active recurring job with no live run (a chain that is not re-armed is
silent), a cancelled occurrence that is not in the ledger. A job whose schedule has ended is COMPLETED here, where the
end of its last run did not do it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from countwheel.domain.planning import is_used_up, next_occurrence
from countwheel.domain.schedule import recurring_of
from countwheel.engine.context import Context
from countwheel.store import cancellation, jobs, runs
from countwheel.store.jobs import UnarmedJob
from countwheel.store.runs import NewOccurrence

_log = structlog.get_logger(__name__)


class Sweeper:
    """Re-arms broken chains, completes the ledger, and says so loudly."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Arm every unarmed job from where its chain broke. Returns seconds to wait."""
        async with self._context.database.transaction() as connection:
            unarmed = await jobs.find_unarmed(connection)
            cancelled = await runs.find_cancelled(connection, [job.job_id for job in unarmed]) if unarmed else {}
            occurrences, at_their_end = _armed(unarmed, cancelled)
            if occurrences:
                await runs.insert_occurrences(connection, occurrences)
                await runs.shelve(connection, [entry.job_id for entry in occurrences])
            if at_their_end:
                await jobs.complete(connection, at_their_end)
            forgotten = await cancellation.account_for_forgotten(connection)
        if forgotten:
            _log.warning("cancels that a crash cut short were written down", count=forgotten)
        if occurrences:
            _log.error("jobs without a live run were armed again", jobs=[str(entry.job_id) for entry in occurrences])
        return self._context.settings.sweep_every_seconds


def _armed(
    unarmed: Sequence[UnarmedJob], cancelled: Mapping[UUID, frozenset[datetime]]
) -> tuple[list[NewOccurrence], list[UUID]]:
    """Return what is to be armed, and the jobs that have nothing left."""
    occurrences: list[NewOccurrence] = []
    at_their_end: list[UUID] = []
    for job in unarmed:
        try:
            schedule = recurring_of(job)
            instant = next_occurrence(schedule, job.last, cancelled.get(job.job_id, frozenset())) if schedule else None
        except Exception as error:  # noqa: BLE001 (said in the log; one poison row must not keep the others unarmed)
            _log.exception("job cannot be armed: its schedule means nothing", job_id=str(job.job_id), error=str(error))
            continue
        if schedule is None or instant is None or is_used_up(schedule.terms, job.runs_begun):
            at_their_end.append(job.job_id)
            continue
        occurrences.append(runs.occurrence(job.job_id, job.tenant_id, instant, schedule.due_at(instant)))
    return occurrences, at_their_end
