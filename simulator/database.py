"""PostgreSQL on virtual time, with the faults of a network between it and whoever asks.

One connection and one outer transaction carry a whole history, and are rolled back at its end; what the engine calls a
transaction is a savepoint. Transactions are played whole, one after the other: what PostgreSQL guarantees about those
that overlap is its own affair (and the fault harness's). What can go wrong around them goes wrong here: the request is
lost, the answer is lost though the commit was made, either takes its time, the server is away.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from countwheel.store.database import Database, DatabaseUnavailableError

VIRTUAL_TIME = """
    CREATE SCHEMA sim;
    CREATE FUNCTION sim.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT current_setting('sim.now')::timestamptz $$;
    CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT current_setting('sim.now')::timestamptz $$;
"""
_GRAIN_SECONDS = 0.002
SEARCH_PATH = "sim, pg_catalog, public"
"""`now()` and `clock_timestamp()` of the engine's own SQL, and of the schema's defaults, mean the virtual clock."""


@dataclass(slots=True)
class Weather:
    """How likely it is that something goes wrong around a statement, and until when the server is away."""

    lose_request: float = 0.0
    lose_answer: float = 0.0
    slow: float = 0.0
    away_until: float = 0.0


class Server:
    """The one PostgreSQL of a history."""

    def __init__(self, connection: psycopg.Connection[Any], began: datetime, random: Random) -> None:
        self._connection = connection
        self._began = began
        self._loop = asyncio.get_running_loop()
        self._epoch = self._loop.time()
        self._told = -1.0
        self._after = b""
        """What is still to be said, with whatever is said next: a round trip costs more than most statements."""
        self.random = random
        self.weather = Weather()
        self.statements = 0

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self._began + timedelta(seconds=self._loop.time() - self._epoch)

    def execute(self, cursor: psycopg.Cursor[Any], query: Any, parameters: Any) -> None:
        """Run a statement at the virtual time."""
        self.statements += 1
        self._tell_time(b"")
        cursor.execute(query, parameters)

    def _tell_time(self, before: bytes) -> None:
        """Set the database's clock, which has a grain of its own, together with another command: one round trip."""
        if self._loop.time() - self._told >= _GRAIN_SECONDS:
            self._told = self._loop.time()
            before += f"SET sim.now = '{self.now.isoformat()}'".encode()
        if before:
            before, self._after = self._after + before, b""
            result = self._connection.pgconn.exec_(before)
            if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                raise psycopg.DatabaseError(result.error_message.decode())

    def cursor(self, row_factory: Any, *, binary: bool = False) -> psycopg.Cursor[Any]:
        """Return a cursor of the real connection."""
        if row_factory is None:
            return self._connection.cursor(binary=binary)
        return self._connection.cursor(row_factory=row_factory, binary=binary)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All or nothing."""
        self._tell_time(b"SAVEPOINT whole;")
        try:
            yield
        except BaseException:
            self._connection.pgconn.exec_(b"ROLLBACK TO whole; RELEASE whole")
            raise
        self._after = b"RELEASE whole;"


class SimDatabase(Database):
    """What an actor believes to be its pool of connections."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.dsn = ""

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection in autocommit: each statement goes its own way through the weather."""
        yield SimConnection(self._server, self._through)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Lend a connection in a transaction: the way there, the whole of it, the way back."""
        await self._there()
        with self._server.whole():
            yield SimConnection(self._server, _at_once)
        await self._back()

    async def _through(self, action: Callable[[], None]) -> None:
        await self._there()
        action()
        await self._back()

    async def _there(self) -> None:
        await self._take_time()
        weather = self._server.weather
        away = asyncio.get_running_loop().time() < weather.away_until
        if away or self._server.random.random() < weather.lose_request:
            raise DatabaseUnavailableError("simulated: the request was lost")

    async def _back(self) -> None:
        await self._take_time()
        if self._server.random.random() < self._server.weather.lose_answer:
            raise DatabaseUnavailableError("simulated: the answer was lost, the commit was made")

    async def _take_time(self) -> None:
        random = self._server.random
        slow = random.random() < self._server.weather.slow
        await asyncio.sleep(random.uniform(0.1, 1.0) if slow else random.uniform(0.0001, 0.001))


async def _at_once(action: Callable[[], None]) -> None:
    action()


class SimConnection:
    """As much of psycopg's asynchronous connection as the store uses."""

    def __init__(self, server: Server, through: Callable[[Callable[[], None]], Any]) -> None:
        self._server = server
        self._through = through

    async def execute(self, query: Any, parameters: Any = None) -> "SimCursor":
        """Run a statement."""
        return await self.cursor().execute(query, parameters)

    def cursor(self, row_factory: Any = None, *, binary: bool = False) -> "SimCursor":
        """Return a cursor."""
        return SimCursor(self._server, self._server.cursor(row_factory, binary=binary), self._through)


class SimCursor:
    """As much of psycopg's asynchronous cursor as the store uses. Rows are at hand when `execute` returns."""

    def __init__(
        self, server: Server, cursor: psycopg.Cursor[Any], through: Callable[[Callable[[], None]], Any]
    ) -> None:
        self._server = server
        self._cursor = cursor
        self._through = through

    @property
    def rowcount(self) -> int:
        """How many rows the statement touched."""
        return self._cursor.rowcount

    async def execute(self, query: Any, parameters: Any = None) -> "SimCursor":
        """Run a statement."""
        await self._through(lambda: self._server.execute(self._cursor, query, parameters))
        return self

    async def fetchone(self) -> Any:
        """Return the next row."""
        return self._cursor.fetchone()

    async def fetchall(self) -> Any:
        """Return the rows that are left."""
        return self._cursor.fetchall()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yield the rows that are left."""
        for row in self._cursor.fetchall():
            yield row
