"""Between nodes and PostgreSQL: hands everything on, and cuts connections when told to, also within a COMMIT."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

_CHUNK = 65_536
_COMMITS = (b"COMMIT", b"countwheel.finish", b"countwheel.retry", b"countwheel.create_jobs")
"""What ends in a commit when its message has been read: an explicit one, or a statement that is one by itself."""


class Proxy:
    """Listens on 127.0.0.1 and connects to a Unix socket."""

    def __init__(self, socket_path: Callable[[], Path], random: Random) -> None:
        """`socket_path` says where PostgreSQL listens now."""
        self._socket_path = socket_path
        self._random = random
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._cut_commits = 0
        self.port = 0
        self.commits_cut = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.cut(1.0)

    def cut(self, share: float) -> int:
        """Cut about this share of the connections, and return how many there were."""
        chosen = [connection for connection in self._connections if self._random.random() < share]
        for connection in chosen:
            connection.abort()
        return len(chosen)

    def cut_next_commits(self, count: int) -> None:
        """Cut the next `count` connections that commit: some before PostgreSQL reads it, some before its answer."""
        self._cut_commits = count

    def wants_cut(self, data: bytes) -> str:
        """Return "before" or "after" where a message is to be cut at, or ""."""
        if not self._cut_commits or not any(mark in data for mark in _COMMITS):
            return ""
        self._cut_commits -= 1
        self.commits_cut += 1
        return self._random.choice(("before", "after"))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_unix_connection(str(self._socket_path()))
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), upstream)
        self._connections.add(connection)
        await connection.run()
        self._connections.discard(connection)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One client's connection and its counterpart."""

    def __init__(self, proxy: Proxy, client: _Stream, server: _Stream) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._swallow_answers = False

    async def run(self) -> None:
        """Hand on until either side ends."""
        pumps = {asyncio.create_task(self._to_server()), asyncio.create_task(self._to_client())}
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self.abort()

    def abort(self) -> None:
        """Drop both sides at once."""
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def _to_server(self) -> None:
        reader, writer = self._client[0], self._server[1]
        while data := await reader.read(_CHUNK):
            cut = self._proxy.wants_cut(data)
            if cut == "before":
                return
            # The answer is swallowed from before the question is asked: nothing of it may slip through.
            self._swallow_answers = cut == "after"
            writer.write(data)
            await writer.drain()

    async def _to_client(self) -> None:
        reader, writer = self._server[0], self._client[1]
        while data := await reader.read(_CHUNK):
            if self._swallow_answers:
                return
            writer.write(data)
            await writer.drain()
