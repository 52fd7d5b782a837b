"""Failures by what they look like."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query

MOST_READ = 100_000
"""So many failures are read at the most, the latest: that bounds what an answer costs."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at: from `start` up to, and without, `end`; None means any."""

    start: datetime
    end: datetime
    job_id: UUID | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures with the same fingerprint. `samples` are "job/run", the latest first."""

    fingerprint: str
    target: str | None
    error_class: str | None
    error: str
    count: int
    first_at: datetime
    last_at: datetime
    jobs: int
    redriven: int
    resolved: int
    samples: list[str]
    groups: int
    """Of all groups, not only of those that are returned."""
    failures: int
    """How many were read, in all groups."""
    since: datetime
    """When the first of those that were read ended."""


async def group(connection: Connection, tenant_id: UUID, span: Span, *, limit: int) -> list[FailureGroup]:
    """Return the groups with the most failures, `limit` at the most."""
    cursor = connection.cursor(row_factory=args_row(FailureGroup))
    asked = {
        "tenant_id": tenant_id,
        "start": span.start,
        "end": span.end,
        "job_id": span.job_id,
        "target": span.target,
        "limit": limit,
    }
    await cursor.execute(query("group_failures", most=MOST_READ), asked, prepare=False)
    return await cursor.fetchall()
