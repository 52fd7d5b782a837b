"""Nodes and their leases. One row's renewal renews everything that the node holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import args_row

from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node process is, whatever incarnation it is in.

    `machine` and `process_started` are None where the system does not tell (see `engine.machine`).
    """

    host: str
    pid: int
    version: str
    roles: list[str]
    machine: str | None = None
    process_started: int | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another node on the same machine."""

    node_id: str
    pid: int
    process_started: int | None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as operators see it. `clock_offset_ms` is its wall clock less the database's."""

    node_id: str
    roles: list[str]
    host: str
    pid: int
    version: str
    status: str
    started_at: datetime
    heartbeat_at: datetime
    lease_until: datetime
    ended_at: datetime | None
    clock_offset_ms: float | None
    held_runs: int


async def register(connection: Connection, identity: Identity, *, node_id: str, lease_seconds: float) -> None:
    """Write a new incarnation down, with a lease from now."""
    await connection.execute(
        query("register_node"), asdict(identity) | {"node_id": node_id, "lease_seconds": lease_seconds}
    )


async def renew(
    connection: Connection, *, node_id: str, lease_seconds: float, clock_offset_ms: float | None
) -> datetime | None:
    """Extend the lease and return the database's time, or None if the node was declared lost."""
    cursor = await connection.execute(
        query("renew_lease"),
        {"node_id": node_id, "lease_seconds": lease_seconds, "clock_offset_ms": clock_offset_ms},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def find_beside(connection: Connection, *, node_id: str, machine: str) -> list[Neighbour]:
    """Return the other nodes of a machine that are said to be alive."""
    cursor = connection.cursor(row_factory=args_row(Neighbour))
    await cursor.execute(query("nodes_beside"), {"node_id": node_id, "machine": machine})
    return await cursor.fetchall()


async def lose_named(connection: Connection, node_ids: Sequence[str]) -> list[str]:
    """Declare nodes lost whose process is known to be gone, and return their ids."""
    cursor = await connection.execute(query("lose_named"), {"node_ids": list(node_ids)})
    return [row[0] async for row in cursor]


async def find_page(connection: Connection, *, after: str | None, limit: int) -> list[NodeRow]:
    """Return up to `limit` nodes by id, later than `after`."""
    cursor = connection.cursor(row_factory=args_row(NodeRow))
    await cursor.execute(query("list_nodes"), {"after": after, "limit": limit})
    return await cursor.fetchall()


async def find_skewed(connection: Connection, *, limit_ms: float) -> list[tuple[str, float]]:
    """Return living nodes whose clock is further from the database's than `limit_ms`, with the offset."""
    cursor = await connection.execute(query("skewed_nodes"), {"limit_ms": limit_ms})
    return [(row[0], row[1]) async for row in cursor]


async def stop(connection: Connection, *, node_id: str) -> None:
    """Say goodbye: what the node may still hold is free for the others at once."""
    await connection.execute(query("stop_node"), {"node_id": node_id})


async def lose_expired(connection: Connection) -> list[str]:
    """Declare every node lost whose lease has ended, by database time, and return their ids."""
    cursor = await connection.execute(query("lose_nodes"))
    return [row[0] async for row in cursor]


async def lose_all(connection: Connection) -> list[str]:
    """Declare every node lost. Only for a database that one server owns alone."""
    cursor = await connection.execute(query("lose_all_nodes"))
    return [row[0] async for row in cursor]


async def prune(connection: Connection) -> int:
    """Forget nodes that ended more than a day ago and hold nothing."""
    return (await connection.execute(query("prune_nodes"))).rowcount


async def count_live(connection: Connection, *, role: str = "engine") -> int:
    """Return how many nodes of a role hold a lease: by default those that call targets."""
    row = await (await connection.execute(query("live_nodes"), {"role": role})).fetchone()
    return int(row[0]) if row else 0


async def database_time(connection: Connection) -> datetime:
    """Return the database's clock."""
    row = await (await connection.execute(query("database_time"))).fetchone()
    if row is None:
        raise AssertionError("SELECT clock_timestamp() returned no row")
    now: datetime = row[0]
    return now
