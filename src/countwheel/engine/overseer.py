"""Looks after runs that their targets have accepted: one whose deadline or heartbeat has passed is decided about.

Any node does it for all of them; the row's lock lets one of them decide, and the fence rises with the decision.
"""

import structlog

from countwheel.engine.context import Context
from countwheel.store import long_work

_log = structlog.get_logger(__name__)

_AT_ONCE = 200


class Overseer:
    """Ends what has been silent for too long, or has it tried again."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run_once(self) -> float:
        """Decide about what is overdue. Returns seconds to wait; 0 where there may be more."""
        chance = self._context.chance
        numbers = [chance.uniform(0.0, 1.0) for _ in range(_AT_ONCE)]
        async with self._context.database.transaction() as connection:
            became = await long_work.end_overdue(connection, numbers)
        if became:
            _log.warning("accepted runs were silent for too long", became=became)
        return 0.0 if sum(became.values()) == _AT_ONCE else self._context.settings.oversee_every_seconds
