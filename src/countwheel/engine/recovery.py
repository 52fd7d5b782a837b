"""Takes over what lost nodes hold, and finds claims of this node whose COMMIT went unanswered."""

import structlog

from countwheel.engine.context import Context
from countwheel.store import nodes, runs

_log = structlog.get_logger(__name__)


class Recovery:
    """Every node watches every other: there is no leader to fail."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Free the runs of nodes whose lease has ended or whose process is gone. Returns seconds to wait."""
        gone = await self._context.node.find_dead_neighbours()
        async with self._context.database.transaction() as connection:
            lost = await nodes.lose_expired(connection)
            if gone:
                lost += await nodes.lose_named(connection, gone)
            recovered = await runs.recover(connection)
        if lost:
            _log.warning("nodes lost: their lease ended, or their process is gone", nodes=lost)
        if recovered:
            _log.warning("runs taken over", count=len(recovered), nodes=sorted({run.node_id for run in recovered}))
        await self._release_strangers()
        return self._context.settings.recover_every_seconds

    async def take_over_predecessors(self) -> None:
        """Free at once what a killed predecessor held. Only where this server owns its database alone."""
        async with self._context.database.transaction() as connection:
            lost = await nodes.lose_all(connection)
            recovered = await runs.recover(connection)
        if lost:
            _log.info("predecessors were killed", nodes=lost, runs_taken_over=len(recovered))

    async def _release_strangers(self) -> None:
        """Give back runs that the database says are ours and that we know nothing of.

        Their claim was committed, but the answer never came. Between two claims only: the answer of one that is under
        way may just be late, and its runs are sent when it comes.
        """
        async with self._context.claiming, self._context.database.connection() as connection:
            known = {
                held.run.run_id for held in self._context.held
            }  # some of them end while the question is on its way
            ours = await runs.held_by(connection, self._context.node.node_id)
            unknown = [run for run in ours if run.run_id not in known and run.run_id not in self._context.held]
            if unknown:
                await runs.release(connection, unknown)
                _log.warning("claims without an answer given back", count=len(unknown))
