"""Makes the ledger's partitions ahead and drops what is past the retention."""

import structlog

from countwheel.engine.context import Context
from countwheel.store import idempotency, jobs, nodes, partitions, runs, signing_keys
from countwheel.store.listing import FIRST_ID

_log = structlog.get_logger(__name__)

_BITES_A_ROUND = 20


class Pruner:
    """Housekeeping that every node does; doing it twice changes nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs_after = FIRST_ID

    async def run_once(self) -> float:
        """Do one round of housekeeping. Returns seconds to wait."""
        retention_days = self._context.settings.retention_days
        async with self._context.database.connection() as connection:
            made = await partitions.make_ahead(connection)
            dropped = await partitions.drop_past(
                connection,
                retention_days=retention_days,
                audit_log_retention_days=self._context.settings.audit_log_retention_days,
            )
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
        if made or dropped:
            _log.info("ledger partitions", made=len(made), dropped=dropped)
        return self._context.settings.prune_every_seconds
