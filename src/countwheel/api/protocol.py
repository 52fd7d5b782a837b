"""HTTP/1.1 on one connection: uvicorn's protocol, with a limit on everything that a client can make long or slow.

uvicorn and httptools have none of their own: a head may grow for ever, and come at a byte a minute. What is over a
limit is answered with a problem document (criterion E1), and the connection is closed. A time in which we do not read
(the handler is behind, or an earlier request is being answered) is not the client's.
"""

import asyncio
import json
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from starlette.responses import Response
from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from countwheel.api.headers import SECURITY_HEADERS, STRICT_TRANSPORT_SECURITY
from countwheel.api.problems import MEDIA_TYPE, Problem, of_status

MAX_HEAD_BYTES = 65_536
"""The request line with all headers; also what may stand between the parts of a chunked body."""
MAX_TARGET_BYTES = 8_192
"""The path with its query; RFC 9112, section 3, asks for 8,000 at least."""
MAX_HEADERS = 100

_NO_REQUEST = "00000000-0000-0000-0000-000000000000"
_LINE_OVERHEAD_BYTES = 4
_LINGER_SECONDS = 1.0
"""How long a refused client may take the answer in. Closing at once on one that is still sending would reset the
connection, and the answer with it."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What clients may take of a node. Units stand last in the names."""

    max_connections: int = 4_096
    head_seconds: float = 10.0
    """From the connection, or the first byte of a request, to the end of its head."""
    body_seconds: float = 30.0
    """From the end of the head to the end of the body; also how long a client may leave an answer untaken."""


class _OverLimitError(Exception):
    """Ends the parser's work on a head."""


class _Phase(Enum):
    """How far the request is that is being received."""

    WAITING = auto()
    HEAD = auto()
    BODY = auto()


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, limits: ConnectionLimits) -> None:
        super().__init__(config, server_state, {})
        self._limits = limits
        self._phase = _Phase.WAITING
        self._crowded = False
        self._refused = False
        self._fault: Problem | None = None
        self._begun = 0
        self._moved = False
        self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a request, but not for long. One connection too many is told so when it has asked."""
        super().connection_made(transport)
        self._crowded = len(self.connections) > self._limits.max_connections
        self._arm(_LINGER_SECONDS if self._crowded else self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what came, up to the limits."""
        if self._refused:
            return
        if self._crowded:
            self._refuse(_CROWDED)
            return
        self._unset_keepalive_if_required()
        before, self._begun, self._moved = self._phase, 0, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing to upgrade to: it was answered as a request like any other
        except httptools.HttpParserError:
            self._refuse(self._fault or of_status(400, "this is not a HTTP request"))
            return
        self._measure(before, len(data))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._begun += 1
        self._phase = _Phase.HEAD
        self._pending_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is none (RFC 9110, section 6.5.1): what stands behind a body was not judged."""
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Judge the head as a whole, before anybody sees it."""
        self._fault = _fault_of_head(self.parser.get_http_version(), self.url, self.headers)
        if self._fault is not None:
            raise _OverLimitError
        super().on_headers_complete()
        self._disarm()
        self._phase = _Phase.BODY
        self._pending_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._disarm()
        self._phase = _Phase.WAITING
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client leaves our answer untaken: for a while it may."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It takes it."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _measure(self, before: _Phase, count: int) -> None:
        """Judge `count` bytes that came when we were in the phase `before`, by what the parser made of them."""
        if self._phase is _Phase.HEAD:
            # Where a request began behind another one, which bytes are whose is not known; the next ones are its own.
            if self._begun == 0 or (self._begun == 1 and before is _Phase.WAITING):
                self._pending_bytes += count
        elif self._phase is _Phase.BODY:
            self._pending_bytes = 0 if self._moved or self._begun else self._pending_bytes + count
        elif self._begun or before is not _Phase.WAITING:
            return
        if self._pending_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._timer is None:
            self._arm(self._limits.body_seconds if self._phase is _Phase.BODY else self._limits.head_seconds)

    def _arm(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._time_is_up, seconds)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self, seconds: float) -> None:
        self._timer = None
        if self.flow.read_paused:
            self._arm(seconds)
        elif self._phase is _Phase.HEAD:
            self._refuse(_SLOW_HEAD)
        elif self._phase is _Phase.BODY:
            self._refuse(_SLOW_BODY)
        elif not self._is_answering():
            self.transport.close()

    def _is_answering(self) -> bool:
        # uvicorn begins with None.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, where an answer is still to be given, and close. Nothing more is read."""
        self._refused = True
        self._disarm()
        if self._is_answering() and self._phase is not _Phase.BODY and not self.pipeline:
            self.cycle.keep_alive = False  # an earlier request is being answered: that is the last answer
        elif self.pipeline or (self._phase is _Phase.BODY and self.cycle.response_started):
            self.transport.close()
        else:
            if self._is_answering():
                self.cycle.disconnected = True
            self.transport.write(_on_the_wire(problem, secure=self.scheme == "https"))
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def answer_at_once(send: Send, response: Response) -> bool:
    """Write a whole answer in one piece. False where that cannot be done: then it is sent the usual way.

    `send` is what an application was given. It must be uvicorn's own: what others have wrapped has more to say.

    uvicorn's own way looks at each header with two patterns, in two calls that are awaited, whatever an application may
    send: 25 us where this takes 5.
    """
    cycle = getattr(send, "__self__", None)
    if (
        not isinstance(cycle, RequestResponseCycle) or cycle.disconnected or cycle.response_started
        or cycle.flow.write_paused or response.background is not None or cycle.scope["method"] == "HEAD"
    ):  # fmt: skip
        return False
    headers = cycle.default_headers + response.raw_headers
    head = STATUS_LINE[response.status_code] + b"".join([b"%b: %b\r\n" % header for header in headers])
    # Who brings a line break into a header could write one of his own. What is to be closed is left to uvicorn.
    if head.count(b"\n") != len(headers) + 1 or b"connection: " in head or not cycle.keep_alive:
        return False
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((head, b"\r\n", response.body)))
    cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True


def _fault_of_head(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Problem | None:
    if len(target) > MAX_TARGET_BYTES:
        return _LONG_TARGET
    if len(headers) > MAX_HEADERS:
        return _TOO_MANY
    size, hosts = len(target), 0
    for name, value in headers:
        size += len(name) + len(value) + _LINE_OVERHEAD_BYTES
        hosts += name == b"host"
    if size > MAX_HEAD_BYTES:
        return _TOO_LARGE
    # A proxy might take another one of two hosts than we do (RFC 9112, section 3.2).
    return _NO_HOST if hosts > 1 or (hosts == 0 and version == "1.1") else None


def _on_the_wire(problem: Problem, *, secure: bool) -> bytes:
    document: dict[str, Any] = problem.document(_NO_REQUEST)
    body = json.dumps(document).encode()
    headers = {
        **SECURITY_HEADERS,
        **({"Strict-Transport-Security": STRICT_TRANSPORT_SECURITY} if secure else {}),
        **problem.headers,
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


_LONG_TARGET = of_status(414, f"the path with its query is over {MAX_TARGET_BYTES} bytes")
_NO_HOST = of_status(400, "give one Host header")
_TOO_MANY = of_status(431, f"there are more than {MAX_HEADERS} headers")
_TOO_LARGE = of_status(431, f"the request line and the headers are over {MAX_HEAD_BYTES} bytes")
_SLOW_HEAD = of_status(408, "the head of the request did not come in time")
_SLOW_BODY = of_status(408, "the body of the request did not come in time")
_CROWDED = Problem(
    503,
    "too-many-connections",
    detail="this node has as many connections as it takes; try again, or another node",
    headers={"Retry-After": "1"},
)
