"""Carries a changed calendar to every job that names it, and plans each of them anew."""

import structlog

from countwheel.engine.context import Context
from countwheel.store import calendars

_log = structlog.get_logger(__name__)

_JOBS_A_BITE = 100
_LOOK_EVERY_SECONDS = 1.0


class Carrier:
    """Goes on where the request that changed a calendar has left off."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Carry one bite of each changed calendar. Returns seconds to wait."""
        async with self._context.database.connection() as connection:
            changed = await calendars.find_changed(connection)
        carried = 0
        for calendar in changed:
            count = await calendars.carry(self._context.database, calendar, _JOBS_A_BITE)
            if count:
                _log.info("calendar carried to jobs", calendar=calendar.name, version=calendar.version, jobs=count)
            carried += count
        return 0.0 if carried else _LOOK_EVERY_SECONDS
