"""Stops what has been cancelled while this node holds it. The cancel's answer waits for the record that this makes."""

from countwheel.engine.context import Context
from countwheel.engine.dispatcher import CANCEL_REASON, Dispatcher
from countwheel.store import runs


class Canceller:
    """Looks for cancel requests on the runs of this node."""

    def __init__(self, context: Context, dispatcher: Dispatcher) -> None:
        self._context = context
        self._dispatcher = dispatcher

    async def run_once(self) -> float:
        """Stop every held run that has been cancelled. Returns seconds to wait."""
        if not len(self._context.held):
            return self._context.settings.cancel_poll_every_seconds
        async with self._context.database.connection() as connection:
            requested = await runs.cancel_requests(connection, self._context.node.node_id)
        for run_id, reason in requested.items():
            held = self._context.held.find(run_id)
            if held is not None:
                self._dispatcher.cancel(held, reason or CANCEL_REASON)
        return self._context.settings.cancel_poll_every_seconds
