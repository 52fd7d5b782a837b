"""Plans anew what another release of the time zones moves (criterion C6).

Wall-clock times are kept as they were submitted. What is armed was computed with the zones of the day: a node that has
newer ones looks through every armed occurrence that a zone has a say in, once, and says which jobs have moved.
"""

import structlog

from countwheel.domain.errors import ScheduleError
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import decode
from countwheel.domain.timestamp import parse_oneoff
from countwheel.domain.zones import release
from countwheel.engine.context import Context
from countwheel.store import zone_release
from countwheel.store.changes import changing
from countwheel.store.listing import FIRST_ID
from countwheel.store.zone_release import Armed

_log = structlog.get_logger(__name__)

_DAY_SECONDS = 86_400.0


class Replanner:
    """Compares the release of the zones with the one that the armed runs were planned with."""

    def __init__(self, context: Context, zones: str | None = None) -> None:
        """`zones` is the release that this node has; by default that of its tzdata."""
        self._context = context
        self.zones = zones or release()

    async def run_once(self) -> float:
        """Plan anew what has moved, if this node's zones are newer. Returns seconds to wait."""
        async with self._context.database.connection() as connection:
            known = await zone_release.read(connection)
        if known is None or known < self.zones:  # releases sort: 2026a, 2026b; the newer one decides
            moved = await self._replan_all() if known is not None else []
            async with self._context.database.connection() as connection:
                await zone_release.write(connection, self.zones)
            if moved:
                _log.warning("jobs moved by newer time zones", jobs=moved, known=known, zones=self.zones)
        return _DAY_SECONDS

    async def _replan_all(self) -> list[str]:
        moved: list[str] = []
        after = FIRST_ID
        while True:
            async with self._context.database.connection() as connection:
                page = await zone_release.find_armed(connection, after=after)
            if not page:
                return moved
            moved += [str(armed.job_id) for armed in page if _has_moved(armed) and await self._replan(armed)]
            after = page[-1].job_id

    async def _replan(self, armed: Armed) -> bool:
        async with changing(self._context.database, armed.tenant_id, armed.job_id) as change:
            if change is None or not await change.replan_is_possible():
                return False
            job = change.job
            if job.schedule_oneoff is not None:
                moment = parse_oneoff(job.schedule_oneoff, job.timezone)
                await change.replan(None, moment, decode(job.terms).due_once(job.job_id, moment))
            else:
                await change.replan(recurring_of(job), armed.scheduled_for, armed.scheduled_for)
        return True


def _has_moved(armed: Armed) -> bool:
    """Whether what is armed is not what the schedule names with the zones of this node."""
    try:
        if armed.schedule_oneoff is not None:
            return parse_oneoff(armed.schedule_oneoff, armed.timezone) != armed.scheduled_for
        schedule = recurring_of(armed)
        return schedule is not None and not schedule.is_occurrence(armed.scheduled_for)
    except ScheduleError:  # a zone that is no more: the row keeps its time, and its claim says what is wrong
        _log.warning("job's schedule means nothing with these time zones", job_id=str(armed.job_id))
        return False
