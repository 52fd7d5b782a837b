"""What a person decides about a run whose outcome nobody knows. Its row in the ledger stays UNKNOWN."""

from uuid import UUID

from countwheel.domain import ids
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


async def send_again(connection: Connection, tenant_id: UUID, job_id: UUID, run_id: UUID, *, by: str) -> bool:
    """Make an UNKNOWN run live again, due now, under its own id. Returns False if there was nothing to send again.

    Must run while the job is locked (`store.changes`): a one-off job that had ended is active again.
    """
    cursor = await connection.execute(
        query("send_unknown_again"),
        {"tenant_id": tenant_id, "job_id": job_id, "run_id": run_id, "by": by, "bucket": ids.bucket_of(run_id)},
    )
    return cursor.rowcount == 1
