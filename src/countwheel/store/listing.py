"""Runs of all jobs of a tenant, live and ended, latest first: by when they ended, or are due.

What did not succeed is listed by an index. What did is the hot path, and has none (decision 0020): such a listing walks
back through the ledger span by span, as far as its time allows.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor

from countwheel.domain.run import ENDED, LIVE, RunStatus
from countwheel.store.database import Connection
from countwheel.store.ledger import RunRow
from countwheel.store.partitions import first_day
from countwheel.store.queries import query

ENDLESS = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC))
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)

_FIRST_SPAN = timedelta(minutes=1)
_GROWTH = 8
_QUICK_SECONDS = 0.1
"""A span that is read faster than this is followed by a longer one."""
_WALK_SECONDS = 2.0
"""How long a listing walks before it says where to go on."""


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
    run_id: UUID = LAST_ID


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
    asked = ended_parameters(tenant_id, narrow) | {"limit": limit}
    found: list[Listed] = []
    stopped_at: Before | None = None
    if (live := statuses & LIVE) and not narrow.excludes_live:
        found += await _fetch(connection, "list_live", asked | {"statuses": sorted(live)} | _keys(before))
    ended = sorted(statuses & ENDED)
    if RunStatus.SUCCEEDED in ended:
        walked, stopped_at = await _walk(connection, asked | {"statuses": ended}, before, limit, monotonic)
        found += walked
    elif ended:
        found += await _fetch(connection, "list_ended", asked | {"statuses": ended} | _keys(before))
    # What ended between the two looks is seen by both: it has ended.
    found = list({(listed.row.job_id, listed.row.run_id): listed for listed in found}.values())
    found.sort(key=lambda listed: _key(listed.place), reverse=True)
    if stopped_at is not None:  # what is listed by an earlier moment has its place after what was not looked at
        found = [listed for listed in found if _key(listed.place) >= _key(stopped_at)]
    return ListedPage(found[:limit], stopped_at)


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


async def _walk(
    connection: Connection, asked: dict[str, Any], before: Before, limit: int, monotonic: Callable[[], float]
) -> tuple[list[Listed], Before | None]:
    """Read spans, each before the last one and longer where that was quick, until the page is full or time is up."""
    row = await (await connection.execute("SELECT now()")).fetchone()
    now: datetime = row[0] if row else ENDLESS[1]
    earliest = await first_day(connection)
    start = ENDLESS[0] if earliest is None else datetime.combine(earliest, time(), UTC)
    span, until, found = _FIRST_SPAN, monotonic() + _WALK_SECONDS, list[Listed]()
    since = min(before.moment, asked["finished_before"], now)
    while True:
        # Below the first partition there is only what a wrong clock has put into the default one.
        since = ENDLESS[0] if since - span <= start else since - span
        began = monotonic()
        parameters = asked | {"since": since, "limit": limit - len(found)} | _keys(before)
        found += await _fetch(connection, "list_ended_within", parameters)
        if len(found) >= limit or since <= max(asked["finished_after"], ENDLESS[0]):
            return found, None
        before = Before(since, FIRST_ID)
        if monotonic() >= until:
            return found, before
        span = span * _GROWTH if monotonic() - began < _QUICK_SECONDS else span


def _keys(before: Before) -> dict[str, Any]:
    return {"before": before.moment, "before_id": before.run_id}


def _key(place: Before) -> tuple[datetime, UUID]:
    return place.moment, place.run_id


async def _fetch(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Listed]:
    cursor = connection.cursor(row_factory=_listed)
    await cursor.execute(query(name), parameters, prepare=False)  # planned for what is asked, not once for all
    return await cursor.fetchall()


def _listed(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], Listed]:
    del cursor
    return lambda values: Listed(RunRow(*values[:-1]), values[-1])
