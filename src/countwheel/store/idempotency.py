"""Stored answers to keys: what makes a repeated create harmless (criteria I1 to I9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query

CREATE_JOB = "createJob"
RUN_JOB = "runJob"
BACKFILL_JOB = "backfillJob"
SHOW_SECRET = "showSecret"  # noqa: S105 (an operation)


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """What makes a repeated request harmless: its key, what it meant, and what is answered to it."""

    key: str | None
    fingerprint: bytes
    answer: str


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


async def keep(connection: Connection, operation: str, tenant_id: UUID, job_id: UUID, keyed: KeyedAnswer) -> bool:
    """Keep the answer to a key, in the transaction of what it protects. Returns False where the key was used before."""
    if keyed.key is None:
        return True
    cursor = await connection.execute(
        query("keep_answer"),
        {
            "operation": operation,
            "tenant_id": tenant_id,
            "job_id": job_id,
            "key": keyed.key,
            "fingerprint": keyed.fingerprint,
            "answer": keyed.answer,
        },
    )
    return cursor.rowcount == 1
