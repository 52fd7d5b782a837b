"""A receiver of webhooks for tests: keeps every call that arrives, and answers as it is told.

It speaks HTTP by itself, so that it can misbehave where a web framework would not let it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self, cast

import httptools

from countwheel.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Received:
    """One call that arrived. Header names are in lower case."""

    received_at: datetime
    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def run_id(self) -> str:
        """The run that the call belongs to: the same on every attempt."""
        return self.headers.get("webhook-id", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """How to answer a call."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"
    after: asyncio.Event | None = None
    """Answer only when this is set."""
    delay_seconds: float = 0.0
    close_without_answer: bool = False
    close_after_answer: bool = False
    raw: bytes | None = None
    """Sent as it is instead of an HTTP answer; the connection stays open unless `close_after_answer` is set."""


ReplyTo = Callable[[Received], Reply]


@dataclass(slots=True)
class _Request:
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class WebhookReceiver:
    """Listens on 127.0.0.1 from `__aenter__` to `__aexit__`."""

    def __init__(self, reply: Reply | ReplyTo | None = None, *, clock: Clock | None = None, port: int = 0) -> None:
        """`reply` answers every call, or says how to answer each; by default 200. Port 0 takes a free one."""
        self._reply = reply or Reply()
        self._clock = clock or SystemClock()
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._changed = asyncio.Event()
        self.calls: list[Received] = []
        self.connections_made = 0

    async def __aenter__(self) -> Self:
        """Start to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=2048)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection and stop."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def url(self) -> str:
        """A target that leads here."""
        return f"http://127.0.0.1:{self._port}/hook"

    def answer_with(self, reply: Reply | ReplyTo) -> None:
        """Answer otherwise from now on."""
        self._reply = reply

    async def wait_for(self, count: int, seconds: float = 30.0) -> list[Received]:
        """Return the calls when there are at least `count`. Raises `TimeoutError`."""
        return await self.wait_until(lambda: len(self.calls) >= count, seconds)

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 30.0) -> list[Received]:
        """Return the calls when `condition` has come true; it is asked after each call. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
        return self.calls

    def calls_by_run(self) -> Counter[str]:
        """Return how often each run was received."""
        return Counter(call.run_id for call in self.calls)

    def take(self, path: str, headers: dict[str, str], body: bytes, method: str = "POST") -> Reply:
        """Keep a call and return how to answer it."""
        call = Received(self._clock.now(), path, headers, body, method)
        self.calls.append(call)
        self._changed.set()
        return self._reply(call) if callable(self._reply) else self._reply

    def opened(self, connection: "_Connection") -> None:
        """Take note of a connection."""
        self.connections_made += 1
        self._connections.add(connection)

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One connection: reads requests, answers them in order."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = _Request("")
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own says that it is none
        self._receiver.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for task in self._answering:
            task.cancel()
        self._receiver.closed(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What httptools calls while it parses:

    def on_url(self, url: bytes) -> None:
        self._request = _Request(url.decode("latin-1"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        request = self._request
        method = self._parser.get_method().decode("ascii")
        reply = self._receiver.take(request.path, request.headers, bytes(request.body), method)
        if reply.after is None and reply.delay_seconds == 0:
            self._answer(reply)
            return
        task = asyncio.get_running_loop().create_task(self._answer_later(reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer_later(self, reply: Reply) -> None:
        if reply.delay_seconds:
            await SystemClock().sleep(reply.delay_seconds)
        if reply.after is not None:
            await reply.after.wait()
        self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if reply.close_without_answer:
            self._transport.close()
            return
        self._transport.write(reply.raw if reply.raw is not None else _encoded(reply))
        if reply.close_after_answer:
            self._transport.close()


def _encoded(reply: Reply) -> bytes:
    head = f"HTTP/1.1 {reply.status} Status\r\ncontent-length: {len(reply.body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    return head.encode("latin-1") + b"\r\n" + reply.body
