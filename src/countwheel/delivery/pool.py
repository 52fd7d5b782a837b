"""The connections that are open: kept alive for the next call to the same place, bounded in all and for each place."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from countwheel.delivery.deadlines import Deadlines
from countwheel.delivery.http1 import Connection, Place
from countwheel.delivery.way import UnsentError
from countwheel.domain.attempt import FailureKind

IDLE_SECONDS = 30.0
"""How long a connection is kept for the next call."""
IDLE_PER_PLACE = 512
"""How many are kept for one place; the others are closed when they are given back."""


class Pool:
    """Lends connections, the one used last first: the others may come of age."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], *, limit: int) -> None:
        """`limit` is how many may be open at once, over all places."""
        self._loop = loop
        self._clock = clock
        self._limit = limit
        self._deadlines = Deadlines(loop, clock)
        self._idle: dict[Place, list[Connection]] = {}
        """The idle ones of each place, the longest idle first."""
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
                connection = idle.pop()
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
        return Connection(place, self._deadlines, self._clock, self._closed)

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
        idle = self._idle.get(connection.place)
        if idle is None:
            idle = self._idle[connection.place] = []
        if not connection.is_open or len(idle) >= IDLE_PER_PLACE:
            self.drop(connection)
            return
        connection.idle_since = self._clock()
        idle.append(connection)
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
        self._deadlines.close()
        while self._waiters:
            self._wake_next()
        if self._open:
            self._all_closed = self._loop.create_future()
            await self._all_closed

    def _take_out(self, connection: Connection) -> None:
        idle = self._idle.get(connection.place)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def _drop_longest_idle(self) -> None:
        """Make room, where anything is idle: told as soon as the connection is closed."""
        longest = [idle[0] for idle in self._idle.values() if idle]
        if longest:
            self.drop(min(longest, key=_idle_since))

    def _drop_aged(self) -> None:
        """Close what has come of age, and forget the places that nobody calls any more."""
        self._sweep = None
        aged_before = self._clock() - IDLE_SECONDS
        for place, idle in list(self._idle.items()):
            for connection in [each for each in idle if each.idle_since <= aged_before]:
                self.drop(connection)
            if not idle:
                del self._idle[place]
        if self._idle:
            oldest = min(idle[0].idle_since for idle in self._idle.values())
            self._sweep = self._loop.call_later(oldest - aged_before, self._drop_aged)

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


def _idle_since(connection: Connection) -> float:
    return connection.idle_since
