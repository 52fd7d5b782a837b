"""Shows calls that take a while as RUNNING. Short ones never cost this write."""

from countwheel.engine.context import Context
from countwheel.engine.held import Phase
from countwheel.store import runs
from countwheel.store.runs import RunningRun


class Announcer:
    """Writes down which calls are under way, once for each."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Mark the calls that have become old enough. Returns seconds to wait."""
        old_enough = self._context.clock.monotonic() - self._context.settings.announce_after_seconds
        fresh = [
            held
            for held in self._context.held.in_phase(Phase.SENDING)
            if not held.announced and 0.0 < held.sending_since <= old_enough
        ]
        if fresh:
            batch = [
                RunningRun(
                    held.run.job_id,
                    held.run.run_id,
                    held.run.fence,
                    self._context.database_time.at(held.sending_since),
                )
                for held in fresh
            ]
            async with self._context.database.connection() as connection:
                await runs.mark_running(connection, batch)
            for held in fresh:
                held.announced = True
        return self._context.settings.announce_after_seconds
