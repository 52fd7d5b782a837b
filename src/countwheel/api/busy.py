"""Minutes that hold more runs than is wise: told at the moment when one more job is put into one.

The next run of every job is armed, so that the runs of a minute to come can be counted: once in a while for each
minute, so that creating a job stays as quick as it is.
"""

from datetime import timedelta
from uuid import UUID

from countwheel.clock import Clock
from countwheel.domain.cron import spread
from countwheel.domain.schedule import Recurring
from countwheel.store import forecast
from countwheel.store.database import Database
from countwheel.store.jobs import NewJob

_FRESH_SECONDS = 10.0
_MINUTES_KNOWN = 10_000
_MINUTE = timedelta(minutes=1)


class BusyMinutes:
    """How full the minutes are that jobs are created into."""

    def __init__(self, database: Database, clock: Clock, limit: int) -> None:
        """`limit` is how many runs of a tenant a minute may hold without a warning."""
        self._database = database
        self._clock = clock
        self._limit = limit
        self._known: dict[tuple[UUID, str], tuple[int, float]] = {}

    async def warning(self, job: NewJob, schedule: Recurring) -> str | None:
        """Say that the first minute of a new job is overfull, and what would spread it; None where it is not."""
        instead = spread(schedule.expression)
        if instead is None or schedule.terms.window is not None:
            return None
        minute = job.due_at.replace(second=0, microsecond=0)
        key, now = (job.tenant_id, minute.isoformat()), self._clock.monotonic()
        count, until = self._known.get(key, (0, 0.0))
        if until <= now:
            async with self._database.connection() as connection:
                count = await forecast.count_due(connection, job.tenant_id, minute, minute + _MINUTE, self._limit)
            until = now + _FRESH_SECONDS
        if len(self._known) >= _MINUTES_KNOWN:
            self._known.clear()
        self._known[key] = (count + 1, until)
        if count < self._limit:
            return None
        return (
            f"the minute {minute:%Y-%m-%dT%H:%MZ} has {self._limit} runs or more already: spread them, with H "
            f'(\'{instead}\' gives each job a minute of its own) or with a window ("window": "15m")'
        )
