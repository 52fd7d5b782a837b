"""A server that misbehaves as a test tells it to, and counts what reaches it."""

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Self

from countwheel.domain.attempt import Call

BODY = b'{"hello":"world"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def give_way(turns: int = 10) -> None:
    """Let every task that can go on do so, for so many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)


class Peer:
    """One connection, from the server's side."""

    def __init__(self, server: "HostileServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self.reader = reader
        self.writer = writer

    async def take(self) -> bytes:
        """Read one request, head and body, and count it."""
        request = await self.reader.readuntil(BODY)
        self._server.requests.append(request)
        return request

    async def say(self, data: bytes, piece: int = 0) -> None:
        """Send something, whole or in pieces of so many bytes, each in a packet of its own if the kernel likes."""
        for at in range(0, len(data), piece or len(data) or 1):
            self.writer.write(data[at : at + piece] if piece else data)
            await self.writer.drain()

    def reset(self) -> None:
        """Close with an RST."""
        self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Return when the client has hung up."""
        while await self.reader.read(65_536):
            pass


Script = Callable[[Peer], Awaitable[None]]


class HostileServer:
    """Runs a script for each connection, then closes it; listens on 127.0.0.1 between `__aenter__` and `__aexit__`."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self._peers:
            peer.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def call(self, host: str = "127.0.0.1", *, timeout_seconds: float = 5.0, body: bytes = BODY) -> Call:
        """Return a call to this server."""
        scheme = "https" if self._tls else "http"
        return Call(f"{scheme}://{host}:{self.port}/hook", (("webhook-id", "run-1"),), body, timeout_seconds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        self.connections += 1
        try:
            await self._script(Peer(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client has hung up, or the test is over
        finally:
            self._peers.discard(task)
            writer.close()
