"""Takes over what lost nodes hold, and finds claims of this node whose COMMIT went unanswered."""

import structlog

from countwheel.engine.context import Context
from countwheel.store import nodes, runs

_log = structlog.get_logger(__name__)

_STRANGERS_SHARE = 20
"""One part in so many of the database's time is for asking what it says is ours, at the most: where vacuum is kept from
its work, all that was ever held is looked through (see floor.py).
"""


class Recovery:
    """Every node watches every other: there is no leader to fail."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._strangers_again_at = float("-inf")

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

        Their claim was committed, but the answer never came. What looks like that is judged between two claims: the
        answer of one that is under way may just be late, and its runs are sent when it comes.
        """
        node_id, held = self._context.node.node_id, self._context.held
        if self._context.clock.monotonic() < self._strangers_again_at:
            return
        async with self._context.database.connection() as connection:
            looked = await runs.held_by(connection, node_id)
        ours = looked.found
        self._strangers_again_at = self._context.clock.monotonic() + _STRANGERS_SHARE * looked.took_seconds
        if all(run.run_id in held for run in ours):
            return
        async with self._context.claiming, self._context.database.connection() as connection:
            known = {each.run.run_id for each in held}  # some of them end while the question is on its way
            asked = [run for run in ours if run.run_id not in known]
            still_ours = await runs.still_held_by(connection, node_id, asked)
            unknown = [run for run in still_ours if run.run_id not in held]
            if unknown:
                await runs.release(connection, unknown)
                _log.warning("claims without an answer given back", count=len(unknown))
