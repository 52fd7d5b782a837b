"""What every session of ours is set to, and where that is kept when sessions are not ours.

On connections of our own the settings go with the connection. A pooler in transaction mode lends a session for one
transaction, and its sessions begin without us: then the settings are our role's in our database (decision 0029).
"""

from collections.abc import Mapping

from psycopg import sql

from countwheel.store.database import SESSION_SETTINGS, Connection
from countwheel.store.queries import query


async def keep_with_role(connection: Connection) -> None:
    """Let every session of our role in our database begin with our settings, from the next one on."""
    row = await (await connection.execute("SELECT current_user, current_database()")).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    for name, value in SESSION_SETTINGS.items():
        await connection.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
                sql.Identifier(row[0]), sql.Identifier(row[1]), sql.Identifier(name), sql.Literal(value)
            )
        )


async def find_others(connection: Connection) -> Mapping[str, str]:
    """Return what this session is set to otherwise than ours are to be, by name."""
    cursor = await connection.execute(query("session_settings"), {"names": list(SESSION_SETTINGS)})
    return {name: value async for name, value in cursor if value != SESSION_SETTINGS[name]}
