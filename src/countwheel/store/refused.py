"""Due runs that PostgreSQL refuses to let anybody claim: for a value in their row, or for what claiming them writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.runs import BEGINNING, ClaimedRun, fresh
from countwheel.store.targets import Lane

_MAX_REASON = 500


class Suspect(NamedTuple):
    """A due run that nobody holds; it may be the one that is refused."""

    job_id: UUID
    run_id: UUID


async def suspects(
    connection: Connection,
    *,
    look_ahead_seconds: float,
    since: datetime = BEGINNING,
    tenant_ids: Sequence[UUID] | None = None,
) -> list[Suspect]:
    """Return what a claim of the largest size would take now, or what it would take of some tenants."""
    parameters = {"look_ahead_seconds": look_ahead_seconds, "since": since, "tenant_ids": tenant_ids}
    return [Suspect(*row) async for row in await connection.execute(query("suspects"), parameters)]


async def suspects_in_lane(connection: Connection, lane: Lane, *, look_ahead_seconds: float) -> list[Suspect]:
    """Return what a claim of the largest size would take from a lane now."""
    parameters = {"tenant_id": lane.tenant_id, "lane": lane.name, "look_ahead_seconds": look_ahead_seconds}
    return [Suspect(*row) async for row in await connection.execute(query("suspects_in_lane"), parameters)]


async def claim_these(connection: Connection, wanted: Sequence[Suspect], *, node_id: str) -> list[ClaimedRun]:
    """Take these runs, but for what somebody else has or is about to take."""
    cursor = connection.cursor(row_factory=args_row(ClaimedRun))
    await cursor.execute(
        query("claim_these"),
        {
            "job_ids": [suspect.job_id for suspect in wanted],
            "run_ids": [suspect.run_id for suspect in wanted],
            "node_id": node_id,
        },
    )
    return await fresh(connection, await cursor.fetchall())


async def put_off(connection: Connection, refused: Suspect, reason: str) -> datetime | None:
    """Let a run that nobody holds be due later, and say why in its row: for as long again as it is late.

    A minute at the least, an hour at the most. Returns when it is due; None where somebody has it after all.
    """
    parameters = refused._asdict() | {"reason": reason[:_MAX_REASON]}
    row = await (await connection.execute(query("put_off"), parameters)).fetchone()
    return row[0] if row else None
