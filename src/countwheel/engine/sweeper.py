"""Looks for what must never be, and mends it: an active recurring job with no live run (a chain that is not re-armed is
silent), a cancelled occurrence that is not in the ledger.
"""

from datetime import datetime

import structlog

from countwheel.domain import ids
from countwheel.domain.planning import next_occurrence
from countwheel.domain.run import Trigger
from countwheel.domain.schedule import parse_recurring
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
            armed = [_armed(job, cancelled.get(job.job_id, frozenset())) for job in unarmed]
            occurrences = [occurrence for occurrence in armed if occurrence is not None]
            if occurrences:
                await runs.insert_occurrences(connection, occurrences)
            forgotten = await cancellation.account_for_forgotten(connection)
        if forgotten:
            _log.warning("cancels that a crash cut short were written down", count=forgotten)
        if occurrences:
            _log.error("jobs without a live run were armed again", jobs=[str(entry.job_id) for entry in occurrences])
        return self._context.settings.sweep_every_seconds


def _armed(job: UnarmedJob, cancelled: frozenset[datetime]) -> NewOccurrence | None:
    try:
        schedule = parse_recurring(job.schedule_recurring, job.timezone)
        instant = next_occurrence(schedule, job.last, cancelled)
    except Exception as error:  # noqa: BLE001 (said in the log; one poison row must not keep the others unarmed)
        _log.exception("job cannot be armed: its schedule means nothing", job_id=str(job.job_id), error=str(error))
        return None
    if instant is None:
        return None
    run_id = ids.run_id(job.job_id, instant, Trigger.SCHEDULE)
    return NewOccurrence(job.job_id, run_id, job.tenant_id, ids.bucket_of(run_id), instant)
