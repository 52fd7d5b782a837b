"""Makes the ledger's partitions ahead and drops or deletes what is past its time."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic

import structlog

from countwheel.engine.context import Context
from countwheel.store import nodes, partitions, pruning, signing_keys
from countwheel.store.database import Connection, DatabaseUnavailableError
from countwheel.store.partitions import Turned
from countwheel.store.pruning import Bite, Place

_log = structlog.get_logger(__name__)

_BITE = 5_000
_BITES_A_ROUND = 20

Part = Callable[[Connection], Awaitable[bool]]
"""One thing to be kept in order. Returns whether there is so much left to do that it is to go on at once."""


class Pruner:
    """Housekeeping that every node does; doing it twice changes nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        days, audit_log_days = context.settings.retention_days, context.settings.audit_log_retention_days
        self._parts: dict[str, Part] = {
            "days ahead": _at_once(_make_ahead),
            "past days": _at_once(partial(_drop_past, retention_days=days, audit_log_retention_days=audit_log_days)),
            "rows of no day": _at_once(partial(partitions.prune_default, retention_days=days)),
            "nodes": _at_once(nodes.prune),
            "signing keys": _at_once(signing_keys.prune),
            "cancelled occurrences": _Walk(partial(pruning.prune_cancelled, retention_days=days)).go_on,
            "versions of jobs": _Walk(partial(pruning.prune_versions, retention_days=days)).go_on,
            "idempotency keys": _Walk(pruning.prune_keys).go_on,
            "jobs": _Walk(partial(pruning.prune_aged_jobs, retention_days=days)).go_on,
            "jobs under ids of clients": _Walk(partial(pruning.prune_jobs_of_no_time, retention_days=days)).go_on,
        }

    async def make_ahead(self) -> None:
        """Make the partitions of today and of the days to come. Raises `DatabaseUnavailableError`."""
        async with self._context.database.connection() as connection:
            await _make_ahead(connection)

    async def run_once(self) -> float:
        """Do one round of housekeeping, each part whatever became of the others. Returns seconds to wait."""
        goes_on = [await self._do(name, part) for name, part in self._parts.items()]
        return 0.0 if any(goes_on) else self._context.settings.prune_every_seconds

    async def _do(self, name: str, part: Part) -> bool:
        try:
            async with self._context.database.connection() as connection:
                return await part(connection)
        except DatabaseUnavailableError as error:
            _log.warning("housekeeping waits for its next round", part=name, error=str(error))
        except Exception:  # noqa: BLE001 (said in the log; one part must not keep the others from being done)
            _log.exception("housekeeping failed, and is tried again in its next round", part=name)
        return False


class _Walk(Generic[Place]):
    """Goes through a table in bites, each round from where the last one ended."""

    def __init__(self, take: Callable[[Connection, Place | None, int], Awaitable[Bite[Place]]]) -> None:
        self._take = take
        self._after: Place | None = None

    async def go_on(self, connection: Connection) -> bool:
        """Take a round's bites. Returns whether much of it was to go, and there is more of the table."""
        gone = 0
        for _ in range(_BITES_A_ROUND):
            bite = await self._take(connection, self._after, _BITE)
            gone += bite.gone
            self._after = bite.last
            if bite.last is None:
                return False
        return gone >= _BITE


def _at_once(do: Callable[[Connection], Awaitable[object]]) -> Part:
    """Make a part of what is done whole, each round."""

    async def part(connection: Connection) -> bool:
        await do(connection)
        return False

    return part


async def _make_ahead(connection: Connection) -> None:
    made = await partitions.make_ahead(connection)
    if made.done:
        _log.info("ledger partitions", made=len(made.done))
    _tell_of_busy(made)


async def _drop_past(connection: Connection, *, retention_days: int, audit_log_retention_days: int) -> None:
    dropped = await partitions.drop_past(
        connection, retention_days=retention_days, audit_log_retention_days=audit_log_retention_days
    )
    if dropped.done:
        _log.info("ledger partitions", dropped=dropped.done)
    _tell_of_busy(dropped)


def _tell_of_busy(turned: Turned) -> None:
    if turned.busy:
        _log.warning("tables are read for long: their partitions wait for the next round", tables=turned.busy)
