"""Looks for active recurring jobs with no live run. There must never be one: a chain that is not re-armed is silent."""

import structlog

from countwheel.domain import ids
from countwheel.domain.planning import next_occurrence
from countwheel.domain.run import Trigger
from countwheel.domain.schedule import parse_recurring
from countwheel.engine.context import Context
from countwheel.store import jobs, runs
from countwheel.store.runs import NewOccurrence

_log = structlog.get_logger(__name__)


class Sweeper:
    """Re-arms broken chains and says so loudly."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Arm every unarmed job from where its chain broke. Returns seconds to wait."""
        async with self._context.database.transaction() as connection:
            unarmed = await jobs.find_unarmed(connection)
            cancelled = await runs.find_cancelled(connection, [job.job_id for job in unarmed]) if unarmed else {}
            occurrences = []
            for job in unarmed:
                schedule = parse_recurring(job.schedule_recurring, job.timezone)
                instant = next_occurrence(schedule, job.last, cancelled.get(job.job_id, frozenset()))
                if instant is None:
                    continue
                run_id = ids.run_id(job.job_id, instant, Trigger.SCHEDULE)
                occurrences.append(NewOccurrence(job.job_id, run_id, job.tenant_id, ids.bucket_of(run_id), instant))
            if occurrences:
                await runs.insert_occurrences(connection, occurrences)
        if occurrences:
            _log.error("jobs without a live run were armed again", jobs=[str(entry.job_id) for entry in occurrences])
        return self._context.settings.sweep_every_seconds
