"""Connections to PostgreSQL, and what can go wrong with them, said in our words."""

import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

Connection = AsyncConnection[tuple[Any, ...]]

SESSION_SETTINGS: Mapping[str, str] = {
    # No statement of ours may hang for ever.
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    # What is hot is in memory or on a solid state disk, where a page that an index names costs what the next of a scan
    # does. With the default of 4, a batch that is finished on a table without statistics is looked for in all of it.
    "random_page_cost": "1.1",
}
"""What every session of ours is set to, as `SHOW` tells it."""
SESSION_OPTIONS = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())


_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,  # a primary that was demoted, or whose disk is full
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process was frozen within a transaction
)


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or went away in the middle. What was asked may or may not have happened."""


class RefusedRowError(Exception):
    """PostgreSQL refused a row for what is in it: sending the same again cannot help."""

    def __init__(self, message: str, *, table: str = "") -> None:
        """`table` is what the row is of, as far as PostgreSQL tells."""
        super().__init__(message)
        self.table = table


class Database:
    """A pool of connections. Every connection is in autocommit: a transaction is always asked for by name."""

    def __init__(
        self, dsn: str, *, name: str, size: int = 4, wait_seconds: float = 5.0, behind_pooler: bool = False
    ) -> None:
        """Describe the pool; `open` makes it.

        `dsn` is a libpq connection string (several hosts allowed), `name` shows in pg_stat_activity, `size` is the
        number of connections, `wait_seconds` how long a caller waits for one. `behind_pooler`: a pooler is at the other
        end, which lends a session for one transaction. Nothing is kept in it then: no prepared statement, no setting.
        """
        self.dsn = dsn
        self.behind_pooler = behind_pooler
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=wait_seconds,
            open=False,
            name=name,
            check=_check_still_there,
            reconnect_timeout=30.0,
            kwargs={
                "autocommit": True,
                "application_name": f"countwheel {name}",
                "prepare_threshold": None if behind_pooler else 2,
                # A dead server is noticed by the kernel.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            }
            | ({} if behind_pooler else {"options": SESSION_OPTIONS}),
        )

    async def open(self) -> None:
        """Open the pool in the background; the first use waits for a connection."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises `DatabaseUnavailableError` and `RefusedRowError` for what fails inside."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise DatabaseUnavailableError(f"no connection to PostgreSQL: {error}") from error
        except _AWAY as error:
            raise DatabaseUnavailableError(f"PostgreSQL: {str(error).strip()}") from error
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            table = error.diag.table_name or ""
            raise RefusedRowError(f"PostgreSQL refused the row: {str(error).strip()}", table=table) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end and rolls back on any exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def trial(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that is always rolled back: only what it raises tells anything."""
        async with self.connection() as connection, connection.transaction(force_rollback=True):
            yield connection


async def _check_still_there(connection: Connection) -> None:
    """Refuse to lend a connection whose server has hung up. Raises `psycopg.OperationalError`; the pool takes another.

    A round trip at every check-out would cost more than it saves. But a server that ends a session says so, and on an
    idle connection nothing else arrives unasked: after a restart no caller has to find out by a failure of its own.
    """
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    while socket.poll(0):
        connection.pgconn.consume_input()
    if connection.broken or connection.closed:
        raise psycopg.OperationalError("the connection is broken")
