"""Targets that misbehave as servers on the open internet do, each in a way of its own, by path.

python -m chaos.hostile_sink

Prints its port. It keeps nothing: what came of each call, the ledger says.
"""

import asyncio
import contextlib
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable

_HEAD = b"HTTP/1.1 200 OK\r\n"
_BITE = b"x" * 65_536
_BOMB = gzip.compress(bytes(50_000_000), 9)

Misbehaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read, and say nothing until the caller goes."""
    while await reader.read(65_536):
        pass


async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte a second, for as long as somebody listens."""
    for byte in _HEAD + b"content-length: 1000\r\n\r\n" + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1.0)


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body without an end."""
    writer.write(_HEAD + b"\r\n")
    while not writer.is_closing():
        writer.write(_BITE)
        await writer.drain()


async def bomb(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Fifty thousand bytes that are fifty million."""
    writer.write(_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(_BOMB) + _BOMB)
    await writer.drain()


async def headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A gigabyte of header."""
    writer.write(_HEAD)
    for number in range(16_384):
        writer.write(b"x-%d: " % number + _BITE + b"\r\n")
        await writer.drain()
        if writer.is_closing():
            return


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The connection is reset (a linger of zero makes the close a RST)."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What is no HTTP at all."""
    writer.write(bytes(range(256)) * 64)
    await writer.drain()


async def redirects(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Always somewhere else: whoever follows comes back here a hundred thousand times."""
    writer.write(b"HTTP/1.1 302 Found\r\nlocation: /redirects\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


MISBEHAVIOURS: dict[str, Misbehaviour] = {
    each.__name__: each for each in (hang, trickle, endless, bomb, headers, reset, garbage, redirects)
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        request = await reader.readuntil(b"\r\n")
        await MISBEHAVIOURS[request.split(b" ")[1].decode().strip("/")](reader, writer)
    writer.close()


async def main() -> None:
    """Serve until killed."""
    async with await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
