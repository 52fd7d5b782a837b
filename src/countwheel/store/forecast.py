"""What a forecast is made of: groups of jobs that fire alike, and single runs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countwheel.domain.errors import ScheduleError
from countwheel.domain.forecast import Group
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import decode
from countwheel.store.database import Connection
from countwheel.store.queries import query

_GROUPS = 10_000
"""So many groups are listed, the largest first."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of jobs, and how many jobs there are in others."""

    groups: list[Group]
    others: int

    @property
    def jobs(self) -> int:
        """How many jobs there are in all."""
        return sum(group.jobs for group in self.groups) + self.others


async def find_groups(connection: Connection, tenant_id: UUID, target: str | None) -> Groups:
    """Return a tenant's active recurring jobs, grouped. What means nothing (any more) is left out."""
    parameters = {"tenant_id": tenant_id, "target": target, "limit": _GROUPS}
    groups: list[Group] = []
    listed = in_all = 0
    async for recurring, timezone, terms, host, job_id, jobs, stands_for_others, all_jobs in await connection.execute(
        query("forecast_groups"), parameters
    ):
        listed, in_all = listed + jobs, all_jobs
        try:
            groups.append(
                Group(parse_recurring(recurring, timezone, job_id, decode(terms)), host, jobs, stands_for_others)
            )
        except ScheduleError:
            continue
    return Groups(groups, in_all - listed)


async def find_singles(
    connection: Connection, tenant_id: UUID, target: str | None, start: datetime, end: datetime
) -> list[tuple[datetime, str, int]]:
    """Return how many single runs are due, by minute and target."""
    parameters = {"tenant_id": tenant_id, "target": target, "start": start, "end": end}
    cursor = await connection.execute(query("forecast_singles"), parameters)
    return [(row[0], row[1], row[2]) async for row in cursor]


async def count_due(connection: Connection, tenant_id: UUID, start: datetime, end: datetime, limit: int) -> int:
    """Return how many runs of a tenant are due in a span of time, up to a limit."""
    parameters = {"tenant_id": tenant_id, "start": start, "end": end, "limit": limit}
    row = await (await connection.execute(query("count_due"), parameters)).fetchone()
    return int(row[0]) if row else 0
