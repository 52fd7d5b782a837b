"""Reading the ledger for an audit: job after job, in the order of time, in bounded memory.

Everything is read in one transaction, in one snapshot: a run that ends meanwhile is not seen between two tables.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from countwheel.domain import audit, ids
from countwheel.domain.audit import Found, Record, Scope, Version
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import decode
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import nodes
from countwheel.store.database import Connection
from countwheel.store.queries import query

_JOBS_A_PAGE = 500
_ROWS_A_FETCH = 2_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is audited: all tenants or one, all jobs or one, within a scope."""

    scope: Scope
    tenant_id: UUID | None = None
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class FoundOfJob:
    """What became of one occurrence of a job. `found` is None where a job begins: progress can be counted by it."""

    job_id: UUID
    found: Found | None


async def begin(connection: Connection) -> datetime:
    """Make the transaction one snapshot that changes nothing, and return the database's time. Must come first in it."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await connection.execute("SET LOCAL statement_timeout = 0")
    return await nodes.database_time(connection)


async def count_jobs(connection: Connection, question: Question) -> int:
    """Return how many jobs the question concerns."""
    row = await (await connection.execute(query("audit_count"), _parameters(question))).fetchone()
    return int(row[0]) if row else 0


async def audit_jobs(connection: Connection, question: Question) -> AsyncGenerator[FoundOfJob, None]:
    """Yield what became of every occurrence, job by job in the order of their ids, each in the order of time."""
    after: UUID | None = None
    while True:
        parameters = _parameters(question) | {"after": after, "limit": _JOBS_A_PAGE}
        cursor = await connection.execute(query("audit_job_ids"), parameters)
        job_ids = [row[0] async for row in cursor]
        if not job_ids:
            return
        async for found in _audit_page(connection, question.scope, job_ids):
            yield found
        after = job_ids[-1]


async def _audit_page(connection: Connection, scope: Scope, job_ids: Sequence[UUID]) -> AsyncIterator[FoundOfJob]:
    versions = await _versions(connection, job_ids)
    cursor = await connection.execute(query("audit_live"), {"job_ids": list(job_ids)})
    waiting = {row[0]: row[1] async for row in cursor}
    async with connection.cursor(name="audit") as ledger:  # on the server: rows come as they are needed
        ledger.itersize = _ROWS_A_FETCH
        await ledger.execute(
            query("audit_ledger"),
            {
                "job_ids": list(job_ids),
                "first_id": ids.first_run_id(scope.start),
                "last_id": ids.first_run_id(scope.end),
            },
        )
        rows = _Rows(ledger)
        await rows.advance()
        for job_id in job_ids:
            yield FoundOfJob(job_id, None)
            async for found in _audit_job(rows, job_id, versions[job_id], waiting.get(job_id), scope):
                yield FoundOfJob(job_id, found)


async def _audit_job(
    rows: "_Rows", job_id: UUID, versions: list[Version], waiting_from: datetime | None, scope: Scope
) -> AsyncIterator[Found]:
    """Feed the merge in portions: a judge works on rows at hand, and the ledger comes from the server."""
    judge = audit.Judge(audit.expect(versions, scope), waiting_from, scope)
    while rows.belong_to(job_id):
        same, instant = list[Record](), rows.peek().scheduled_for
        while rows.belong_to(job_id) and rows.peek().scheduled_for == instant:
            same.append(rows.peek())
            await rows.advance()
        for found in judge.pass_over(instant):
            yield found
        yield judge.meet(instant, [record for record in same if not record.retried])
    for found in judge.pass_over(None):
        yield found


class _Rows:
    """The ledger's rows, with a look at the one that comes next."""

    def __init__(self, cursor: AsyncIterable[tuple[Any, ...]]) -> None:
        self._rows = aiter(cursor)
        self._current: tuple[Any, ...] | None = None

    def belong_to(self, job_id: UUID) -> bool:
        """Whether the next row is one of this job."""
        return self._current is not None and self._current[0] == job_id

    def peek(self) -> Record:
        """Return the next row. Raises `LookupError` at the end."""
        if self._current is None:
            raise LookupError("no row is left")
        return Record(*self._current[1:])

    async def advance(self) -> None:
        """Go on to the next row."""
        self._current = await anext(self._rows, None)


async def _versions(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, list[Version]]:
    cursor = await connection.execute(query("audit_versions"), {"job_ids": list(job_ids)})
    found: dict[UUID, list[Version]] = {}
    async for job_id, _, recurring, oneoff, timezone, terms, since, until in cursor:
        known = found.setdefault(job_id, [])
        schedule = parse_recurring(recurring, timezone, job_id, decode(terms)) if recurring is not None else None
        at = parse_oneoff(oneoff, timezone) if oneoff is not None else None
        known.append(Version(since, until, schedule, at, first=not known))
    return found


def _parameters(question: Question) -> dict[str, Any]:
    return {
        "tenant_id": question.tenant_id,
        "job_id": question.job_id,
        "start": question.scope.start - timedelta(minutes=1),
        "end": question.scope.end,
    }
