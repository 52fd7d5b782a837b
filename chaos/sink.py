"""The target: notes what arrives and when, and misbehaves by path.

python -m chaos.sink FILE SEED

Prints its port. Every call becomes a line of JSON in FILE, written when it has been answered or given up. SIGUSR1 lets
it hang for a while: nothing is answered, everything is read.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import time
from typing import Any, cast

import httptools
import msgspec
import uvloop

from checker.history import Receipt

HANG_SECONDS = 2.0
_TAKES_OVER = 0.8

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_OK_AND_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"  # says nothing of closing, and closes
_TAKEN_OVER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_ERROR = b"HTTP/1.1 500 Error\r\ncontent-length: 3\r\n\r\nbad"
_GARBAGE = bytes(range(256)) * 16
_HEADERS_WITHOUT_END = b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %b\r\n" % (n, b"x" * 1024) for n in range(128))
_BODY_WITHOUT_END = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 131_072
_TRICKLE = (b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n", b"\r\n", b"o", b"k")


def _close(transport: asyncio.Transport) -> None:
    transport.close()


def _reset(transport: asyncio.Transport) -> None:
    transport.abort()


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to answer, for draws below `up_to`: what is written, bit by bit, and how the connection is left."""

    up_to: float
    parts: tuple[bytes, ...]
    answer: str
    end: Callable[[asyncio.Transport], None] | None = None


_WAYS = (
    _Way(0.06, (_ERROR,), "500"),
    _Way(0.10, (), "none", _close),  # read, and dropped
    _Way(0.14, (), "none", _reset),
    _Way(0.17, (_GARBAGE,), "none"),
    _Way(0.20, (_HEADERS_WITHOUT_END,), "none"),
    _Way(0.30, _TRICKLE, "200"),
    _Way(0.45, (_OK_AND_CLOSE,), "200", _close),
    _Way(0.50, (_BODY_WITHOUT_END,), "200"),
    _Way(1.00, (_OK,), "200"),
)


class Sink:
    """What all connections share."""

    def __init__(self, file: Path, seed: int) -> None:
        self._file = file.open("ab", buffering=0)
        self._random = Random(seed)
        self._answering = asyncio.Event()
        self._answering.set()

    def hang(self) -> None:
        """Answer nothing for a while."""
        self._answering.clear()
        asyncio.get_running_loop().call_later(HANG_SECONDS, self._answering.set)

    def note(self, receipt: Receipt) -> None:
        """Keep a receipt."""
        self._file.write(msgspec.json.encode(receipt) + b"\n")

    async def answer(self, path: str, receipt: Receipt, transport: asyncio.Transport) -> None:
        """Answer a call as its path and chance have it."""
        chance = self._random.random()
        if path.startswith("/long"):
            await asyncio.sleep(1.0 + 2.0 * chance)
        elif path.startswith("/fifty"):
            await asyncio.sleep(0.05)
        await self._answering.wait()
        if transport.is_closing():
            self.note(receipt)
            return
        if receipt.callback and chance < _TAKES_OVER:
            transport.write(_TAKEN_OVER)
            receipt.answer = "202"
        elif path.startswith("/flaky"):
            await self._misbehave(chance, receipt, transport)
        else:
            transport.write(_OK)
            receipt.answer = "200"
        receipt.answered_at = time()
        self.note(receipt)

    async def _misbehave(self, chance: float, receipt: Receipt, transport: asyncio.Transport) -> None:
        way = next(way for way in _WAYS if chance < way.up_to)
        for part in way.parts:
            if not transport.is_closing():
                transport.write(part)
            if len(way.parts) > 1:
                await asyncio.sleep(0.02)
        if way.end is not None:
            way.end(transport)
        receipt.answer = way.answer


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = ""
        self._headers: dict[bytes, str] = {}
        self._body = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Begin a request."""
        self._path, self._headers, self._body = url.decode(), {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Note the arrival, and answer."""
        received_at, headers = time(), self._headers
        receipt = Receipt(
            label=msgspec.json.decode(self._body)["label"],
            run_id=headers[b"webhook-id"],
            fence=int(headers[b"countwheel-fence"]),
            attempt=int(headers[b"countwheel-attempt"]),
            scheduled_ms=_milliseconds(headers[b"countwheel-scheduled-for"]),
            received_at=received_at,
            trigger=headers[b"countwheel-trigger"],
            callback=headers.get(b"countwheel-callback", ""),
        )
        if self._transport is not None:
            task = asyncio.get_running_loop().create_task(self._sink.answer(self._path, receipt, self._transport))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _milliseconds(text: str) -> int:
    from datetime import datetime  # noqa: PLC0415 (only here)

    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def main(file: Path, seed: int) -> None:
    """Serve until killed."""
    sink = Sink(file, seed)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, sink.hang)
    server = await loop.create_server(lambda: Connection(sink), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
