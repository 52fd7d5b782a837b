"""Targets: what people have limited, what the engine has found out, and the lanes in which runs wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from psycopg.rows import args_row

from countwheel.domain.breaker import Breaker
from countwheel.domain.pace import Pace, Slowed
from countwheel.store.columns import columns_of, in_lock_order
from countwheel.store.database import Connection
from countwheel.store.queries import query
from countwheel.store.runs import ClaimedRun, HeldRun, Looked, fresh, looked_at

LaneSize = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256]
"""Runs a claim from a lane. A closed set, as `ClaimSize` is."""

SIZES: tuple[LaneSize, ...] = (256, 128, 64, 32, 16, 8, 4, 2, 1)

MOST_OF_A_TENANT = 1_000
"""Of so many targets people may say something, and of as many others is kept what nodes have found out: each node reads
them all several times a second.
"""

COUNTED_UP_TO = 10_000
"""A backlog is counted up to here."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target as it is stored. `now` is the database's time at which it was read."""

    tenant_id: UUID
    name: str
    pace: Pace
    pause_reason: str | None
    paused_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class TargetView(Target):
    """A target with what waits for it: `backlog` runs that are due, counted up to a bound, and those under way."""

    backlog: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What people say of a target; None is what they do not say."""

    max_concurrency: int | None
    rate_per_second: float | None
    burst: int | None
    breaker: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane that something waits in, and when the first of it is due."""

    tenant_id: UUID
    name: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class SetAsideRun:
    """A held run that was not sent and is to wait in a lane, or in the common queue where that is None."""

    job_id: UUID
    run_id: UUID
    fence: int
    lane: str | None


def _target(*row: object) -> Target:
    return Target(*_fields(row))


def _view(*row: object) -> TargetView:
    backlog, in_flight = cast("tuple[int, int]", row[-2:])
    return TargetView(*_fields(row[:-2]), backlog=backlog, in_flight=in_flight)


def _fields(row: tuple[Any, ...]) -> tuple[UUID, str, Pace, str | None, datetime | None, datetime]:
    """Read the columns of the fragment `target_columns`."""
    tenant_id, name, max_concurrency, rate_per_second, burst, breaker, paused_at, pause_reason, next_slot_at = row[:9]
    opened_at, open_until, openings, probes, probed_at, open_reason = row[9:15]
    slowed_rate, slowed_from, slowed_at, now = row[15:]
    pace = Pace(
        max_concurrency=max_concurrency,
        rate_per_second=rate_per_second,
        burst=burst,
        breaker_is_off=breaker == "off",
        paused=paused_at is not None,
        next_slot_at=next_slot_at,
        breaker=Breaker(opened_at, open_until, openings, probes, probed_at, open_reason),
        slowed=None if slowed_rate is None else Slowed(slowed_rate, slowed_from, slowed_at),
    )
    return tenant_id, name, pace, pause_reason, paused_at, now


async def find_all(connection: Connection) -> list[Target]:
    """Return every target that somebody has limited or that is unwell."""
    cursor = connection.cursor(row_factory=args_row(_target))
    await cursor.execute(query("find_restricted"))
    return await cursor.fetchall()


async def lock(connection: Connection, tenant_id: UUID, name: str) -> Target | None:
    """Return a target, locked for a decision about its pace; None where there is none, or a peer is deciding."""
    cursor = connection.cursor(row_factory=args_row(_target))
    await cursor.execute(query("lock_target"), {"tenant_id": tenant_id, "name": name})
    return await cursor.fetchone()


async def lock_or_make(connection: Connection, tenant_id: UUID, name: str) -> Target:
    """Return a target, locked, made where there is none. Waits for whoever has it locked.

    Of others what nodes have found out longest ago is forgotten where there is too much of that.
    """
    cursor = connection.cursor(row_factory=args_row(_target))
    parameters = {"tenant_id": tenant_id, "name": name, "most": MOST_OF_A_TENANT}
    await cursor.execute(query("lock_new_target"), parameters)
    found = await cursor.fetchone()
    if found is None:
        raise AssertionError("an upsert returns its row")
    return found


async def write_found(connection: Connection, tenant_id: UUID, name: str, pace: Pace) -> None:
    """Write what the engine has found out about a target that the caller has locked."""
    breaker, slowed = pace.breaker, pace.slowed
    await connection.execute(
        query("write_found"),
        {
            "tenant_id": tenant_id,
            "name": name,
            "next_slot_at": pace.next_slot_at,
            "opened_at": breaker.opened_at,
            "open_until": breaker.open_until,
            "openings": breaker.openings,
            "probes": breaker.probes,
            "probed_at": breaker.probed_at,
            "open_reason": breaker.reason,
            "slowed_rate": slowed and slowed.rate,
            "slowed_from": slowed and slowed.refused,
            "slowed_at": slowed and slowed.at,
        },
    )


async def delete_spent(connection: Connection, spent: Sequence[tuple[UUID, str]]) -> None:
    """Forget those of these targets that nobody limits and that have been well for a while."""
    parameters = {"tenant_ids": [tenant_id for tenant_id, _ in spent], "names": [name for _, name in spent]}
    await connection.execute(query("delete_spent"), parameters)


async def lanes(connection: Connection) -> Looked[list[Lane]]:
    """Return every lane that something waits in."""
    return await looked_at(await connection.execute(query("lanes")), Lane)


async def count_in_flight(connection: Connection, tenant_id: UUID, lane: str) -> int:
    """Return how many runs of a lane any node holds."""
    cursor = await connection.execute(query("in_flight"), {"tenant_id": tenant_id, "lane": lane})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def claim_from_lane(
    connection: Connection, lane: Lane, *, node_id: str, look_ahead_seconds: float, size: LaneSize
) -> list[ClaimedRun]:
    """Take up to `size` runs of a lane, earliest first.

    Like `runs.claim`, in the transaction that also obeys the plan of each run.
    """
    cursor = connection.cursor(row_factory=args_row(ClaimedRun))
    await cursor.execute(
        query("claim_from_lane", size=size),
        {
            "tenant_id": lane.tenant_id,
            "lane": lane.name,
            "node_id": node_id,
            "look_ahead_seconds": look_ahead_seconds,
        },
    )
    claimed = await fresh(connection, await cursor.fetchall())
    return sorted(claimed, key=lambda run: run.due_at)


async def set_aside(connection: Connection, batch: Sequence[SetAsideRun], *, node_id: str) -> set[UUID]:
    """Hand held runs back to wait in a lane and return the ids of those whose fence still matched."""
    columns = columns_of(in_lock_order(batch), "job_ids", "run_ids", "fences", "lanes")
    cursor = await connection.execute(query("set_aside"), columns | {"node_id": node_id})
    return {row[0] async for row in cursor}


async def put_lane(connection: Connection, batch: Sequence[tuple[HeldRun, str]], *, node_id: str) -> None:
    """Let calls that are under way count as their target's."""
    aside = [SetAsideRun(held.job_id, held.run_id, held.fence, lane) for held, lane in batch]
    columns = columns_of(in_lock_order(aside), "job_ids", "run_ids", "fences", "lanes")
    await connection.execute(query("put_lane"), columns | {"node_id": node_id})


async def read(
    connection: Connection, tenant_id: UUID, *, name: str | None = None, after: str | None = None, limit: int = 1
) -> list[TargetView]:
    """Return a page of a tenant's targets by name, or the one of a name: those limited, unwell, or waited for."""
    cursor = connection.cursor(row_factory=args_row(_view))
    parameters = {"tenant_id": tenant_id, "name": name, "after": after, "limit": limit, "count_limit": COUNTED_UP_TO}
    await cursor.execute(query("list_targets"), parameters)
    return await cursor.fetchall()


async def put_limits(connection: Connection, tenant_id: UUID, name: str, limits: Limits) -> bool | None:
    """Limit a target. Returns whether it is new; None where the tenant has said something of as many as it may."""
    parameters = {
        "tenant_id": tenant_id,
        "name": name,
        "max_concurrency": limits.max_concurrency,
        "rate_per_second": limits.rate_per_second,
        "burst": limits.burst,
        "breaker": limits.breaker,
        "most": MOST_OF_A_TENANT,
    }
    row = await (await connection.execute(query("put_limits"), parameters)).fetchone()
    return None if row is None else bool(row[0])


async def take_limits(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Take a target's limits away. Returns whether there were any."""
    cursor = await connection.execute(query("take_limits"), {"tenant_id": tenant_id, "name": name})
    return cursor.rowcount == 1


async def pause(connection: Connection, tenant_id: UUID, name: str, reason: str | None) -> bool:
    """Let no call to a target begin, known or not. False where the tenant has said something of as many as it may."""
    parameters = {"tenant_id": tenant_id, "name": name, "reason": reason, "most": MOST_OF_A_TENANT}
    return (await connection.execute(query("pause_target"), parameters)).rowcount == 1


async def resume(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Let calls to a target begin again, whatever held them back but its limits. Returns whether it is known."""
    cursor = await connection.execute(query("resume_target"), {"tenant_id": tenant_id, "name": name})
    return cursor.rowcount == 1
