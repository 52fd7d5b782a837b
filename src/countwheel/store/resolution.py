"""What a person decides about a run whose outcome nobody knows. Its row in the ledger stays UNKNOWN."""

from uuid import UUID

from countwheel.store.database import Connection
from countwheel.store.queries import query


async def resolve(
    connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID, *, outcome: str, by: str, note: str | None
) -> bool:
    """Write down what somebody has found out: SUCCEEDED or FAILED. Returns False if there was nothing to resolve."""
    cursor = await connection.execute(
        query("resolve_unknown"),
        {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id, "outcome": outcome, "by": by, "note": note},
    )
    return cursor.rowcount == 1
