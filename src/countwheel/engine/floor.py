"""From when on a node looks for due runs that nobody holds.

What was claimed leaves a dead entry at the head of the due index. Vacuum takes them away, but not while some session
has an old snapshot (a transaction that was left open, a long report): then every look would walk past all that was
claimed since, 180,000 entries a minute at 3,000 runs a second, and soon nothing would be sent any more. So a look
begins where the last one has found the first run.

What has come in before that meanwhile (it was given back, or was overdue when it was created) is found by a whole look,
from the beginning: a few times a second where that is cheap, and beside the others, which do not wait for it.
"""

from datetime import datetime, timedelta

from countwheel.engine.context import Context
from countwheel.store import runs
from countwheel.store.runs import BEGINNING, Looked

_MARGIN = timedelta(milliseconds=250)
"""So far back a look reaches in any case: a run that is created due now is there a little later."""
_WHOLE_SHARE = 20
"""One part in so many of the database's time is for whole looks, at the most."""


class Floor:
    """Remembers from when on there may be anything."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.since = BEGINNING
        """Nothing that is due before it was there that nobody held, by the last look."""

    async def look(self) -> datetime | None:
        """Return when the next run is due that nobody holds, of those that are not below the floor."""
        since, now = self.since, self._context.database_time.at(self._context.clock.monotonic())
        next_due = (await self._next_due(since)).found
        if self.since == since:  # else a whole look has found something below: the next look begins there
            self.since = now - _MARGIN if next_due is None else min(next_due, now - _MARGIN)
        return next_due

    async def look_whole(self) -> float:
        """Lower the floor to the first run that nobody holds, wherever it is. Returns seconds to wait."""
        looked = await self._next_due(BEGINNING)
        if looked.found is not None:
            self.since = min(self.since, looked.found)
        return max(self._context.settings.look_whole_every_seconds, _WHOLE_SHARE * looked.took_seconds)

    async def _next_due(self, since: datetime) -> Looked[datetime | None]:
        async with self._context.database.connection() as connection:
            return await runs.next_due(connection, since=since)
