"""Finds the due runs that PostgreSQL lets nobody claim, and puts them off: one poison row must not stop all others.

A claim is one transaction, and one row that PostgreSQL refuses (a number that has no more room, what a defect of ours
has written) undoes it for all that it has taken. By trials that are rolled back, half of the suspects at a time, it is
found which rows those are: twenty trials for one of 512. They are tried again later; nothing is lost, and nothing made
up.
"""

from collections.abc import Sequence

import structlog

from countwheel.engine.context import Context
from countwheel.engine.taking import obey_plans
from countwheel.store import refused
from countwheel.store.database import RefusedRowError
from countwheel.store.refused import Suspect

_log = structlog.get_logger(__name__)


async def put_off_refused(context: Context, suspects: Sequence[Suspect]) -> int:
    """Put off those of these runs that cannot be claimed, and return how many there were."""
    return sum([await _put_off(context, *found) for found in await _refused(context, suspects)])


async def _put_off(context: Context, suspect: Suspect, error: RefusedRowError) -> bool:
    ids = {"run_id": str(suspect.run_id), "job_id": str(suspect.job_id)}
    try:
        async with context.database.connection() as connection:
            due_at = await refused.put_off(connection, suspect, f"it cannot be claimed: {error}")
    except RefusedRowError as also:
        _log.error("run can neither be claimed nor put off", **ids, error=str(also))
        return False
    if due_at is not None:
        _log.error("run cannot be claimed and is put off", **ids, due_at=due_at.isoformat(), error=str(error))
    return due_at is not None


async def _refused(context: Context, suspects: Sequence[Suspect]) -> list[tuple[Suspect, RefusedRowError]]:
    if not suspects:
        return []
    error = await _try(context, suspects)
    if error is None:
        return []
    if len(suspects) == 1:
        return [(suspects[0], error)]
    half = len(suspects) // 2
    return await _refused(context, suspects[:half]) + await _refused(context, suspects[half:])


async def _try(context: Context, suspects: Sequence[Suspect]) -> RefusedRowError | None:
    """Claim these runs for no longer than the trial takes; return why that was refused, if it was."""
    node_id = context.node.node_id
    try:
        async with context.database.trial() as connection:
            claimed = await refused.claim_these(connection, suspects, node_id=node_id)
            await obey_plans(connection, claimed, context.targets.keep_back, node_id=node_id)
    except RefusedRowError as error:
        return error
    return None
