"""The connections that are open: kept alive for the next call to the same place, bounded in all and for each place."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from countwheel.delivery.http1 import Connection, Place
from countwheel.delivery.way import UnsentError
from countwheel.domain.attempt import FailureKind

IDLE_SECONDS = 30.0
"""How long a connection is kept for the next call."""
IDLE_PER_PLACE = 128
"""How many are kept for one place; the others are closed when they are given back."""


class Pool:
    """Lends connections, the one used last first: the others may come of age."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], *, limit: int) -> None:
        """`limit` is how many may be open at once, over all places."""
        self._loop = loop
        self._clock = clock
        self._limit = limit
        self._idle: dict[Place, deque[Connection]] = {}
        self._by_age: dict[Connection, None] = {}
        """The idle ones, the longest idle first."""
        self._open: set[Connection] = set()
        self._connecting = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._all_closed: asyncio.Future[None] | None = None

    def take(self, places: Iterable[Place]) -> Connection | None:
        """Return an idle connection to one of these places, if there is one that can be used."""
        for place in places:
            while idle := self._idle.get(place):
                connection = self._take_out(idle[-1])
                is_young = self._clock() - connection.idle_since < IDLE_SECONDS
                if connection.is_open and is_young and connection.is_silent():
                    return connection
                self.drop(connection)
        return None

    async def take_or_room(self, places: Sequence[Place]) -> Connection | None:
        """Return an idle connection, or None when one more may be made.

        That one is counted from now on, until `connected` or `no_connection` says what came of it. Raises
        `UnsentError` when the pool is closed.
        """
        has_waited = False
        while True:
            if self._is_closed:
                raise UnsentError(FailureKind.CONNECT, "no call leaves any more: the sender is closed")
            if (taken := self.take(places)) is not None:
                return taken
            if len(self._open) + self._connecting < self._limit:
                self._connecting += 1
                return None
            self._drop_longest_idle()
            waiter = self._loop.create_future()
            # Whose turn it was and who found no room stays first: else a busy place would keep the others out for good.
            (self._waiters.appendleft if has_waited else self._waiters.append)(waiter)
            has_waited = True
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._wake_next()  # it was this one's turn
                raise

    def new_connection(self, place: Place) -> Connection:
        """Return a protocol for the connection that is being made."""
        return Connection(place, self._loop, self._clock, self._closed)

    def connected(self, connection: Connection) -> None:
        """Count a connection that has been made."""
        self._connecting -= 1
        if connection.is_gone:
            self._wake_next()
        else:
            self._open.add(connection)
            if self._is_closed:
                self.drop(connection)

    def no_connection(self) -> None:
        """Take note that none could be made."""
        self._connecting -= 1
        self._wake_next()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call, or close it if it cannot serve one."""
        connection.used = True
        idle = self._idle.get(connection.place) or deque()
        if not connection.is_open or len(idle) >= IDLE_PER_PLACE:
            self.drop(connection)
            return
        self._idle[connection.place] = idle
        connection.idle_since = self._clock()
        idle.append(connection)
        self._by_age[connection] = None
        if self._waiters:
            self._wake_next()
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_SECONDS, self._drop_aged)

    def drop(self, connection: Connection) -> None:
        """Close a connection."""
        self._take_out(connection)
        connection.abort()

    async def close(self) -> None:
        """Close every connection and return when all are gone; one that is being made is closed when it is there."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            self.drop(connection)
        while self._waiters:
            self._wake_next()
        if self._open:
            self._all_closed = self._loop.create_future()
            await self._all_closed

    def _take_out(self, connection: Connection) -> Connection:
        if connection in self._by_age:
            del self._by_age[connection]
            idle = self._idle[connection.place]
            if idle[-1] is connection:
                idle.pop()
            else:
                idle.remove(connection)
            if not idle:
                del self._idle[connection.place]
        return connection

    def _drop_longest_idle(self) -> None:
        """Make room, where anything is idle: told as soon as the connection is closed."""
        if (connection := next(iter(self._by_age), None)) is not None:
            self.drop(connection)

    def _drop_aged(self) -> None:
        """Close what has come of age; what was given back last is last in `_by_age`."""
        self._sweep = None
        now = self._clock()
        for connection in list(self._by_age):
            if now - connection.idle_since < IDLE_SECONDS:
                left = IDLE_SECONDS - (now - connection.idle_since)
                self._sweep = self._loop.call_later(left, self._drop_aged)
                return
            self.drop(connection)

    def _wake_next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._take_out(connection)
        self._wake_next()
        if not self._open and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)
