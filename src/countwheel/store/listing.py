"""Runs of all jobs of a tenant, live and ended, latest first: by when they ended, or are due.

What did not succeed is listed by an index. What did is the hot path, and has none (decision 0020): such a listing walks
back through the ledger span by span. Whatever is asked, a page takes as long as a page may (decision 0028): what it has
not looked at by then is left to the next one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncCursor

from countwheel.domain import ids
from countwheel.domain.run import ENDED, LIVE, RunStatus
from countwheel.store.database import Connection
from countwheel.store.ledger import RunRow
from countwheel.store.partitions import ledger_days
from countwheel.store.queries import query
from countwheel.store.walking import Walk, look_through

ENDLESS = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC))
FIRST_ID = UUID(int=0)
_IN_LINE, _HELD = {RunStatus.SCHEDULED, RunStatus.RETRYING}, {RunStatus.CLAIMED, RunStatus.RUNNING}
"""Live statuses of runs that nobody holds, and that somebody does (`held_when_claimed` of `runs`)."""

_FIRST_ROWS, _FIRST_ENDED_ROWS = 1_000, 2_000
"""How many live runs are looked at first, and about how many ended ones: a millisecond's."""
_WITH_JOBS = 16
"""It is so many times less where each run's job is looked at, too."""
_WITH_NEARLY_ALL = 4
"""And so many times less where nothing is narrowed: of a tenant that has most of the runs nearly all are wanted."""
_SHARE_OF_FAILURES = 20
"""The first span of what did not succeed has so many times as many: only that is read."""
_SHORTEST_SPAN = timedelta(milliseconds=10)
"""No span is shorter, however many runs ended in it."""
_PATIENCE_SECONDS = 0.01
"""A span that takes longer has more runs than its day has on average: a shorter one is
read instead."""
_SHRINK = 16


@dataclass(frozen=True, slots=True)
class EndedFilter:
    """What ended runs are narrowed to beside their status; None means anything."""

    job_id: UUID | None = None
    target: str | None = None
    trigger: str | None = None
    fingerprint: str | None = None
    error_class: str | None = None
    labels: Sequence[tuple[str, str]] = ()
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    show_deleted: bool = False

    @property
    def excludes_live(self) -> bool:
        """Whether it asks for something that only an ended run has."""
        return any((self.fingerprint, self.error_class, self.finished_after, self.finished_before))


@dataclass(frozen=True, slots=True)
class Before:
    """Where a page begins: with what ended, or is due, before this moment; at the moment, with lower ids."""

    moment: datetime = ENDLESS[1]
    run_id: UUID = ids.LAST_ID


@dataclass(frozen=True, slots=True)
class Listed:
    """A run, and the moment that it is listed by."""

    row: RunRow
    moment: datetime

    @property
    def place(self) -> Before:
        """Where a page after it begins."""
        return Before(self.moment, self.row.run_id)


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Up to `limit` runs. `stopped_at` is given where the walk ran out of time: what is before it was not looked at."""

    runs: list[Listed]
    stopped_at: Before | None


async def find_page(
    connection: Connection,
    tenant_id: UUID,
    statuses: frozenset[RunStatus],
    narrow: EndedFilter,
    *,
    before: Before,
    limit: int,
    monotonic: Callable[[], float],
) -> ListedPage:
    """Return a page of a tenant's runs. `monotonic` tells how long a walk has taken, in seconds."""
    walk, found, stops = Walk(monotonic), list[Listed](), list[Before]()
    asked = ended_parameters(tenant_id, narrow) | {"limit": limit}
    if (live := statuses & LIVE) and not narrow.excludes_live:
        found, stops = await _live(connection, asked | {"statuses": sorted(live)}, before, walk)
    ended = statuses & ENDED
    if narrow.fingerprint or narrow.error_class:  # a failure's
        ended -= {RunStatus.SUCCEEDED}
    if ended:
        # What ended before the page's last live run is due has its place on a later page.
        last = max([*stops, *(listed.place for listed in found[limit - 1 : limit])], key=_key, default=None)
        floor = max(asked["finished_after"], ENDLESS[0] if last is None else last.moment)
        walked, stopped_at = await _ended(connection, asked | {"statuses": sorted(ended)}, before, floor, walk)
        found, stops = found + walked, stops + ([stopped_at] if stopped_at else [])
    # What ended between the two looks is seen by both: it has ended.
    found = list({(listed.row.job_id, listed.row.run_id): listed for listed in found}.values())
    found.sort(key=lambda listed: _key(listed.place), reverse=True)
    if not stops:
        return ListedPage(found[:limit], None)
    # What is listed by an earlier moment has its place after what was not looked at.
    stop = max(stops, key=_key)
    return ListedPage([listed for listed in found if _key(listed.place) >= _key(stop)][:limit], stop)


def ended_parameters(tenant_id: UUID, narrow: EndedFilter) -> dict[str, Any]:
    """Return the parameters of the queries' filter."""
    return {
        "tenant_id": tenant_id,
        "job_id": narrow.job_id,
        "target": narrow.target,
        "trigger": narrow.trigger,
        "fingerprint": narrow.fingerprint,
        "error_class": narrow.error_class,
        "labels": [json.dumps({name: value}) for name, value in narrow.labels],
        "finished_after": narrow.finished_after or ENDLESS[0],
        "finished_before": narrow.finished_before or ENDLESS[1],
        "show_deleted": narrow.show_deleted,
    }


async def _live(
    connection: Connection, asked: dict[str, Any], before: Before, walk: Walk
) -> tuple[list[Listed], list[Before]]:
    """Return live runs, latest due first, and where the walks through them stopped that ran out of time."""
    found, stops = list[Listed](), list[Before]()
    if not _HELD.isdisjoint(asked["statuses"]):
        found += await _fetch(connection, "list_held", asked | _keys(before))
    if not _IN_LINE.isdisjoint(asked["statuses"]):
        tried = RunStatus.SCHEDULED not in asked["statuses"]
        for set_aside in (False,) if tried else (False, True):
            line, stopped_at = await _in_line(
                connection, asked | {"set_aside": set_aside, "tried": tried}, before, walk
            )
            found, stops = found + line, stops + ([stopped_at] if stopped_at else [])
    found.sort(key=lambda listed: _key(listed.place), reverse=True)
    return found, stops


async def _in_line(
    connection: Connection, asked: dict[str, Any], before: Before, walk: Walk
) -> tuple[list[Listed], Before | None]:
    """Look through the runs that nobody holds, in steps of rows, until the page is full or time is up."""

    async def step(before: Before, rows: int, left: int) -> tuple[list[Listed], Before | None]:
        parameters = asked | {"limit": left, "rows": rows} | _keys(before)
        cursor = await connection.cursor().execute(query("list_live"), parameters, prepare=False)
        looked_at = await cursor.fetchall()
        *_, moment, run_id = looked_at[0]
        found = [Listed(RunRow(*row[:-3]), row[-3]) for row in looked_at if row[0] is not None]
        return found, None if moment is None else Before(moment, run_id)

    return await look_through(walk, before, step, rows=_FIRST_ROWS // _effort(asked), limit=asked["limit"])


async def _ended(
    connection: Connection, asked: dict[str, Any], before: Before, floor: datetime, walk: Walk
) -> tuple[list[Listed], Before | None]:
    """Read spans of time, each before the last one, until the page is full, the floor is reached, or time is up."""
    days = await ledger_days(connection)
    # Of one fingerprint there is an index whatever the status.
    by_span = RunStatus.SUCCEEDED in asked["statuses"] or asked["fingerprint"] is not None
    name = "list_ended_within" if by_span else "list_ended"
    rows = _FIRST_ENDED_ROWS / _effort(asked)
    if RunStatus.SUCCEEDED not in asked["statuses"]:
        rows *= _SHARE_OF_FAILURES
    until, found = min(before.moment, asked["finished_before"], days.now), list[Listed]()
    patience = _PATIENCE_SECONDS
    while True:
        walk.begin_step()
        # Below the first partition there is only what a wrong clock has put into the default one.
        since = days.before(until, rows) or ENDLESS[0]
        if is_shortest := since > ENDLESS[0] and until - since < _SHORTEST_SPAN:
            since = until - _SHORTEST_SPAN
        since = max(since, floor)
        parameters = asked | {"since": since, "limit": asked["limit"] - len(found)} | _keys(before)
        step = await _fetch_within(connection, name, parameters, None if is_shortest else patience)
        if step is None:
            rows /= _SHRINK
            patience *= 2  # where a shorter step takes no less, the machine is slow
            continue
        found += step
        if len(found) >= asked["limit"] or since <= floor:
            return found, None
        before, until = Before(since, FIRST_ID), since
        if (growth := walk.growth()) is None:
            return found, before
        rows *= growth


def _effort(asked: dict[str, Any]) -> int:
    """Return how many times fewer runs are looked at first: each is more to look at, or few are enough."""
    if asked["labels"] or asked["target"]:
        return _WITH_JOBS
    is_any = not (asked["job_id"] or asked["fingerprint"] or asked["error_class"])  # most have the same trigger
    return _WITH_NEARLY_ALL if is_any else 1


def _keys(before: Before) -> dict[str, Any]:
    return {"before": before.moment, "before_id": before.run_id}


def _key(place: Before) -> tuple[datetime, UUID]:
    return place.moment, place.run_id


async def _fetch(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Listed]:
    cursor = connection.cursor(row_factory=_listed)
    await cursor.execute(query(name), parameters, prepare=False)  # planned for what is asked, not once for all
    return await cursor.fetchall()


async def _fetch_within(
    connection: Connection, name: str, parameters: dict[str, Any], seconds: float | None
) -> list[Listed] | None:
    """The same; None where it would take longer. One way there and back: the pipeline's."""
    if seconds is None:
        return await _fetch(connection, name, parameters)
    cursor = connection.cursor(row_factory=_listed)
    try:
        async with connection.pipeline():
            await connection.execute("BEGIN READ ONLY")
            await connection.execute(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
            await cursor.execute(query(name), parameters, prepare=False)
            await connection.execute("COMMIT")
            return await cursor.fetchall()
    except psycopg.errors.QueryCanceled:
        await connection.rollback()
        return None


def _listed(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], Listed]:
    del cursor
    return lambda values: Listed(RunRow(*values[:-1]), values[-1])
