"""The leanest HTTP/1.1 client there is in Python: kept-alive connections, one call at a time on each, httptools.

No time-out, no guard, no TLS, no address looked up: it serves as a limit, and as the client of Python's peers, so that
no choice of a client holds one of them back. It depends on nothing of ours: it also runs where a peer is installed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

Done = Callable[[int], None]
"""Takes the status that a call was answered with."""


class RawClient:
    """A number of connections to one place. Calls wait where all of them are busy."""

    def __init__(self) -> None:
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._all: list[_Connection] = []

    @classmethod
    async def connect(cls, url: str, connections: int) -> "RawClient":
        """Open all connections. `url` is http://ADDRESS:PORT."""
        host, port = url.removeprefix("http://").split(":")
        client, loop = cls(), asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(client._free), host, int(port))
            client._all.append(connection)
        client._idle = list(client._all)
        return client

    def call(self, request: bytes, done: Done) -> None:
        """Send a whole request; `done` is told the status of its answer."""
        if self._idle:
            self._idle.pop().send(request, done)
        else:
            self._waiting.append((request, done))

    async def post(self, request: bytes) -> int:
        """Send a whole request, and return the status of its answer."""
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.call(request, answered.set_result)
        return await answered

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close()

    def _free(self, connection: "_Connection") -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, free: Callable[["_Connection"], None]) -> None:
        self._free = free
        self._transport: Any = None
        self._done: Done | None = None
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, done: Done) -> None:
        self._done = done
        self._transport.write(request)

    def close(self) -> None:
        self._done = None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        done, self._done = self._done, None
        self._free(self)
        if done is not None:
            done(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None:
            raise ConnectionError("the sink hung up in the middle of a call") from error
