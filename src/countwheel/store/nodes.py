"""Nodes and their leases. One row's renewal renews everything that the node holds."""

from datetime import datetime

from countwheel.store.database import Connection
from countwheel.store.queries import query


async def register(
    connection: Connection, *, node_id: str, host: str, pid: int, version: str, lease_seconds: float
) -> None:
    """Write a new incarnation down, with a lease from now."""
    await connection.execute(
        query("register_node"),
        {"node_id": node_id, "host": host, "pid": pid, "version": version, "lease_seconds": lease_seconds},
    )


async def renew(connection: Connection, *, node_id: str, lease_seconds: float) -> datetime | None:
    """Extend the lease and return the database's time, or None if the node was declared lost."""
    cursor = await connection.execute(query("renew_lease"), {"node_id": node_id, "lease_seconds": lease_seconds})
    row = await cursor.fetchone()
    return row[0] if row else None


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


async def count_live(connection: Connection) -> int:
    """Return how many nodes hold a lease."""
    row = await (await connection.execute(query("live_nodes"))).fetchone()
    return int(row[0]) if row else 0


async def database_time(connection: Connection) -> datetime:
    """Return the database's clock."""
    row = await (await connection.execute(query("database_time"))).fetchone()
    if row is None:
        raise AssertionError("SELECT clock_timestamp() returned no row")
    now: datetime = row[0]
    return now
