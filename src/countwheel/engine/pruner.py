"""Makes the ledger's partitions ahead and drops what is past the retention."""

import structlog

from countwheel.engine.context import Context
from countwheel.store import idempotency, jobs, nodes, partitions, runs, signing_keys
from countwheel.store.listing import FIRST_ID
from countwheel.store.partitions import Turned

_log = structlog.get_logger(__name__)

_BITES_A_ROUND = 20


class Pruner:
    """Housekeeping that every node does; doing it twice changes nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs_after = FIRST_ID

    async def make_ahead(self) -> None:
        """Make the partitions of today and of the days to come."""
        async with self._context.database.connection() as connection:
            _tell("made", await partitions.make_ahead(connection))

    async def run_once(self) -> float:
        """Do one round of housekeeping. Returns seconds to wait."""
        retention_days = self._context.settings.retention_days
        await self.make_ahead()
        async with self._context.database.connection() as connection:
            dropped = await partitions.drop_past(
                connection,
                retention_days=retention_days,
                audit_log_retention_days=self._context.settings.audit_log_retention_days,
            )
            _tell("dropped", dropped)
            await runs.prune_cancelled(connection, retention_days=retention_days)
            await nodes.prune(connection)
            await signing_keys.prune(connection)
            for _ in range(_BITES_A_ROUND):
                if not await idempotency.prune(connection):
                    break
            for _ in range(_BITES_A_ROUND):
                _, last = await jobs.prune(connection, after=self._jobs_after, retention_days=retention_days)
                self._jobs_after = last or FIRST_ID
                if last is None:
                    break
        return self._context.settings.prune_every_seconds


def _tell(what: str, turned: Turned) -> None:
    if turned.done:
        _log.info("ledger partitions", **{what: turned.done})
    if turned.busy:
        _log.warning("tables are read for long: their partitions wait for the next round", to_be=what, of=turned.busy)
