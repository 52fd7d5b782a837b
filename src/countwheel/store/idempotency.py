"""Stored answers to keys: what makes a repeated create harmless (criteria I1 to I9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query

CREATE_JOB = "createJob"
RUN_JOB = "runJob"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the first request with a key meant (`fingerprint`) and what was answered to it."""

    fingerprint: bytes
    answer: str


async def find(
    connection: Connection, operation: str, keys: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], StoredAnswer]:
    """Return what is stored for each (tenant, key) that is there."""
    cursor = await connection.execute(
        query("find_stored_answers"),
        {
            "operation": operation,
            "tenant_ids": [tenant for tenant, _ in keys],
            "keys": [key for _, key in keys],
        },
    )
    return {(row[0], row[1]): StoredAnswer(row[2], row[3]) async for row in cursor}


async def prune(connection: Connection) -> int:
    """Forget one bite of keys whose job has ended and that are older than seven days; returns how many."""
    return (await connection.execute(query("prune_keys"))).rowcount
