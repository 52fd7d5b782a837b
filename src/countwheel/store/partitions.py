"""Daily partitions of the ledger, and of the audit log: made ahead, dropped whole when past the retention."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import psycopg
from psycopg import sql

from countwheel.store.database import Connection
from countwheel.store.queries import query

_KEYS = {"run_history": "finished_at", "attempts": "finished_at", "audit_log": "at"}
PARENTS = tuple(_KEYS)
DAYS_AHEAD = 7
_DAY = timedelta(days=1)
_ROW_BYTES = 250
"""Of a row of the ledger, on the disk: roughly."""

_LOCK_PATIENCE = sql.SQL("SET LOCAL lock_timeout = '100ms'")
"""A day is made and dropped under a lock that suffers no other, and behind whoever waits for it every writer waits.
Where a long reader (a backup, an audit) is in the way, the day has time, and what is to be recorded has not."""

_CREATE = "CREATE TABLE {day} PARTITION OF {parent} FOR VALUES FROM ({begin}) TO ({end})"
_DETACH = "ALTER TABLE {parent} DETACH PARTITION {default}"
_MOVE = """
    WITH moved AS (DELETE FROM {default} WHERE {key} >= {begin} AND {key} < {end} RETURNING *)
    INSERT INTO {parent} SELECT * FROM moved
"""
_ATTACH = "ALTER TABLE {parent} ATTACH PARTITION {default} DEFAULT"


def name_of(parent: str, day: date) -> str:
    """Return the name of a table's partition for a day (UTC)."""
    return f"{parent}_{day:%Y%m%d}"


def day_of(parent: str, name: str) -> date | None:
    """Return the day of a partition, or None for one that is not a day's (the default one)."""
    try:
        return datetime.strptime(name.removeprefix(f"{parent}_"), "%Y%m%d").date()  # noqa: DTZ007 (a date, no instant)
    except ValueError:
        return None


@dataclass(slots=True)
class Turned:
    """Partitions that were made or dropped, and tables that somebody was reading too long: for another time."""

    done: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


async def make_ahead(connection: Connection) -> Turned:
    """Make the partitions from yesterday to a week ahead that are not there.

    A table that is busy is left for another time: its rows have a home in the default partition until then.
    """
    today = await _database_day(connection)
    days = [today + timedelta(days=offset) for offset in range(-1, DAYS_AHEAD + 1)]
    turned = Turned()
    for parent in PARENTS:
        if not await _missing(connection, parent, days):
            continue
        async with _unless_busy(connection, parent, turned):
            # Nodes that start together take turns: IF NOT EXISTS does not keep two of them from colliding.
            # Who waits for this lock keeps no writer waiting.
            await connection.execute(
                sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(sql.Identifier(parent))
            )
            missing = await _missing(connection, parent, days)
            await connection.execute(_LOCK_PATIENCE)
            for day in missing:
                await _make(connection, parent, day)
            turned.done += [name_of(parent, day) for day in missing]
    return turned


@asynccontextmanager
async def _unless_busy(connection: Connection, parent: str, turned: Turned) -> AsyncIterator[None]:
    """Run the block in a transaction. If it does not get a lock, nothing of it happens, and the table is noted."""
    try:
        async with connection.transaction():
            yield
    except psycopg.errors.LockNotAvailable:
        turned.busy.append(parent)


async def _make(connection: Connection, parent: str, day: date) -> None:
    """Make the partition of a day. The caller's transaction has locked the table."""
    bounds = {
        "day": sql.Identifier(name_of(parent, day)),
        "parent": sql.Identifier(parent),
        "begin": sql.Literal(f"{day}T00:00:00Z"),
        "end": sql.Literal(f"{day + timedelta(days=1)}T00:00:00Z"),
        "default": sql.Identifier(f"{parent}_default"),
        "key": sql.Identifier(_KEYS[parent]),
    }
    try:
        async with connection.transaction():
            await connection.execute(sql.SQL(_CREATE).format(**bounds))
    except psycopg.errors.CheckViolation:
        # Nobody had made it when rows of that day were written: by nodes that answer the API alone, say.
        for statement in (_DETACH, _CREATE, _MOVE, _ATTACH):
            await connection.execute(sql.SQL(statement).format(**bounds))


@dataclass(frozen=True, slots=True)
class LedgerDays:
    """About how many runs ended on each day that the ledger has, and the database's time."""

    runs: Mapping[date, float]
    now: datetime

    def before(self, until: datetime, rows: float) -> datetime | None:
        """Return since when about so many runs ended before a moment; None where there are not so many."""
        for day in sorted(self.runs, reverse=True):
            begin = datetime.combine(day, time(), UTC)
            if begin >= until:
                continue
            end = min(begin + _DAY, max(self.now, begin + _DAY / 1440))  # today's runs are in what there is of today
            until = min(until, end)
            there = self.runs[day] * ((until - begin) / (end - begin))
            if there >= rows:
                return until - (until - begin) * (rows / there)
            rows, until = rows - there, begin
        return None


async def ledger_days(connection: Connection) -> LedgerDays:
    """Return the days of the ledger."""
    rows = await (await connection.execute(query("partition_sizes"))).fetchall()
    days = {day: size / _ROW_BYTES for name, size, _ in rows if (day := day_of("run_history", name)) is not None}
    return LedgerDays(days, rows[0][2])  # the default partition is always there


async def _missing(connection: Connection, parent: str, days: Sequence[date]) -> list[date]:
    """Return the days that have no partition yet."""
    present = set(await _partitions(connection, parent))
    return [day for day in days if name_of(parent, day) not in present]


async def drop_past(connection: Connection, *, retention_days: int, audit_log_retention_days: int) -> Turned:
    """Drop the partitions whose whole day is older than the retention, but for those of tables that are busy.

    The audit log has a retention of its own.
    """
    today, turned = await _database_day(connection), Turned()
    for parent in PARENTS:
        days = audit_log_retention_days if parent == "audit_log" else retention_days
        oldest_kept = today - timedelta(days=days)
        for name in await _partitions(connection, parent):
            day = day_of(parent, name)
            if day is None or day >= oldest_kept or parent in turned.busy:
                continue
            async with _unless_busy(connection, parent, turned):
                await connection.execute(_LOCK_PATIENCE)
                await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
                turned.done.append(name)
    return turned


async def prune_default(connection: Connection, *, retention_days: int) -> None:
    """Delete the rows that have no day's partition and are older than the retention."""
    for name in ("prune_default_history", "prune_default_attempts"):
        await connection.execute(query(name), {"retention_days": retention_days})


async def _partitions(connection: Connection, parent: str) -> list[str]:
    cursor = await connection.execute(query("list_partitions"), {"parent": parent})
    return [row[0] async for row in cursor]


async def _database_day(connection: Connection) -> date:
    row = await (await connection.execute(query("database_day"))).fetchone()
    if row is None:
        raise AssertionError("SELECT now() returned no row")
    day: date = row[0]
    return day
