"""Cancelled occurrences, read no further than planning looks: a tenant may have cancelled very many."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from countwheel.domain.cancelled import Cancelled, UnreadError
from countwheel.domain.planning import next_occurrence
from countwheel.domain.schedule import Recurring
from countwheel.store.arrays import ARRAYS
from countwheel.store.database import Connection
from countwheel.store.queries import query

_Planned = TypeVar("_Planned")
_Planning = Awaitable[tuple[_Planned, dict[UUID, datetime]]]
"""What is planned, and from where on more is to be read of which jobs."""

_FIRST_READ = 16
"""So many of a job are read at first. A claim arms hundreds of jobs, and hardly any has two in a row cancelled."""

_NOTHING_READ = Cancelled()


class CancelledOccurrences:
    """What is cancelled of some jobs. Each read goes twice as far as the one before: a long row takes few."""

    def __init__(self, connection: Connection) -> None:
        """Know of nothing yet."""
        self._connection = connection
        self._of_job: dict[int, Cancelled] = {}
        """By the number that a job's id is: a claim asks about hundreds, and a UUID is hashed in Python."""
        self._size = _FIRST_READ

    def of(self, job_id: UUID) -> Cancelled:
        """Return what is known of a job."""
        return self._of_job.get(job_id.int, _NOTHING_READ)

    async def read(self, since: Mapping[UUID, datetime]) -> None:
        """Read on in each of these jobs, from an instant."""
        parameters = {"job_ids": ARRAYS[UUID](list(since)), "since": ARRAYS[datetime](list(since.values()))}
        cursor = await self._connection.execute(query("find_cancelled"), parameters | {"limit": self._size})
        found: dict[int, list[datetime]] = {}
        for job_id, instant in await cursor.fetchall():
            found.setdefault(job_id.int, []).append(instant)
        for job_id, begin in since.items():
            instants = found.get(job_id.int, [])
            until = instants[-1] if len(instants) == self._size else None
            self._of_job.setdefault(job_id.int, Cancelled()).learn(begin, until, instants)
        self._size *= 2


async def plan_with(
    connection: Connection, since: Mapping[UUID, datetime], plan: Callable[[CancelledOccurrences], _Planning[_Planned]]
) -> _Planned:
    """Return what `plan` makes of what is cancelled of some jobs, from an instant on in each.

    It says from where on it must know more, too: that is read, and it is called again. As a rule it is called once.
    """
    cancelled, unread = CancelledOccurrences(connection), dict(since)
    while True:
        if unread:
            await cancelled.read(unread)
        planned, unread = await plan(cancelled)
        if not unread:
            return planned


async def next_not_cancelled(
    connection: Connection, job_id: UUID, schedule: Recurring, after: datetime
) -> datetime | None:
    """Return the first occurrence of a job later than `after` that nobody cancelled, or None if there is none."""

    async def plan(cancelled: CancelledOccurrences) -> tuple[datetime | None, dict[UUID, datetime]]:
        try:
            return next_occurrence(schedule, after, cancelled.of(job_id)), {}
        except UnreadError as gap:
            return None, {job_id: gap.instant}

    return await plan_with(connection, {job_id: after}, plan)
