"""Reads one answer after another from the bytes of a connection, within bounds. No I/O: the same however bytes come.

What is hostile ends in a `fault` (there is no status to be had) or leaves the answer not `clean` (it counts, but the
connection cannot be used again). Nothing is decompressed, ever: a bomb stays the few bytes that it is.
"""

from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_RESPONSE_BYTES = 65_536
"""The body is read up to here; then the connection is dropped. The status counts all the same (criterion W8)."""
HEAD_BYTES = 4_096
"""What is kept of a body."""
MAX_HEADER_BYTES = 65_536
"""Status line and headers, interim answers included; more is a fault."""
MAX_HEADERS = 256
"""Headers of one answer; more is a fault."""
KEPT_HEADER_BYTES = 8_192
"""What is kept of the headers: one that does not fit any more is left out."""
MAX_INTERIM_ANSWERS = 16
"""1xx answers before the one that counts; more is a fault."""

# Chunk sizes, chunk extensions and trailers are no body, and must end some time, too.
_MAX_WIRE_BYTES = MAX_HEADER_BYTES + 2 * MAX_RESPONSE_BYTES
_KNOWN_BYTES = 1_024
_MOST_KNOWN = 512
_HTTP_1 = frozenset({"1.0", "1.1"})
_FIRST_STATUS, _FIRST_FINAL_STATUS, _SWITCHING_PROTOCOLS = 100, 200, 101


class _Whole(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    head: bytes


_known: dict[bytes, _Whole] = {}
"""What short answers say that came whole, and clean: most targets say the same again and again (within a second, where
they date it), and to take one to pieces is twenty calls. The same bytes are the same answer, on any connection."""


class AnswerReader:
    """Fed by a connection; `begin` makes it ready for the next answer."""

    __slots__ = (
        "_body_bytes", "_complete", "_headers", "_in_head", "_interim", "_keep_alive", "_parser", "_wire_bytes",
        "fault", "head", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: Any = HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forget the answer before."""
        self.status = 0
        self.fault: str | None = None
        """Why there is no status to be had."""
        self._headers: list[tuple[bytes, bytes]] = []
        self.head = b""
        """The first `HEAD_BYTES` of the body."""
        self._wire_bytes = 0
        self._body_bytes = 0
        self._interim = 0
        self._in_head = True
        self._complete = False
        self._keep_alive = False

    def feed(self, data: bytes) -> None:
        """Read what came. Not to be called any more when there is a `fault` or the answer is `done`."""
        may_be_whole = self._wire_bytes == 0 and len(data) <= _KNOWN_BYTES
        if may_be_whole and (whole := _known.get(data)) is not None:
            self.status, self._headers, self.head = whole
            self._in_head, self._complete, self._keep_alive = False, True, True
            return
        self._wire_bytes += len(data)
        self._parse(data)
        if may_be_whole and self.clean and self.fault is None:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[data] = _Whole(self.status, self._headers, self.head)

    def _parse(self, data: bytes) -> None:
        try:
            if self._in_head and self._wire_bytes > MAX_HEADER_BYTES:
                room = len(data) - (self._wire_bytes - MAX_HEADER_BYTES)
                self._parser.feed_data(data[:room])
                if self.status == 0:
                    self.fault = self.fault or f"more than {MAX_HEADER_BYTES} bytes of headers"
                    return
                data = data[room:]
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # In the head that is the end of it. Later the status has come: that is the answer, however its body ends.
            self._keep_alive = False
            if self._in_head:
                self.fault = self.fault or f"not HTTP: {error}"
            else:
                self._complete = True

    def end(self) -> bool:
        """The connection has ended: whether a status has come, which counts however the body ended."""
        self._keep_alive = False
        return not self._in_head

    def release(self) -> None:
        """Let go of the parser, which holds on to this reader."""
        self._parser = None

    @property
    def done(self) -> bool:
        """Whether no more is to be read: it is complete, or longer than is read of an answer."""
        return self._complete or self._body_bytes > MAX_RESPONSE_BYTES or self._wire_bytes > _MAX_WIRE_BYTES

    @property
    def clean(self) -> bool:
        """Whether the answer was complete, nothing came after it, and the connection stays open."""
        return self._complete and self._keep_alive and self._body_bytes <= MAX_RESPONSE_BYTES

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return name (in lower case) and value of every header, in order, within `KEPT_HEADER_BYTES`.

        What is meant for us (`retry-after`, `countwheel-…`) is always there.
        """
        kept, room = [], KEPT_HEADER_BYTES
        for raw_name, value in self._headers:
            name = raw_name.decode("latin-1").lower()
            room -= len(name) + len(value)
            if room >= 0 or name == "retry-after" or name.startswith("countwheel-"):
                kept.append((name, value.decode("latin-1")))
            else:
                room += len(name) + len(value)
        return tuple(kept)

    # What httptools calls while it parses:

    def on_message_begin(self) -> None:
        """Something comes after the answer: nobody asked for that."""
        if self._complete:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the head, are passed over."""
        if self._in_head:
            if len(self._headers) >= MAX_HEADERS:
                self.fault = f"more than {MAX_HEADERS} headers"
                return
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status, or pass over an interim answer."""
        if self._complete:
            return
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in _HTTP_1 or status < _FIRST_STATUS:
            self.fault = self.fault or f"not HTTP/1.1: version {version}, status {status}"
        elif status == _SWITCHING_PROTOCOLS:
            self.fault = self.fault or "101 Switching Protocols: nobody asked for that"
        elif status < _FIRST_FINAL_STATUS:
            self._interim += 1
            self._headers.clear()
            if self._interim > MAX_INTERIM_ANSWERS:
                self.fault = self.fault or f"more than {MAX_INTERIM_ANSWERS} interim answers"
        elif self.fault is None:
            self.status = status
            self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Keep the beginning, count the rest."""
        if len(self.head) < HEAD_BYTES and not self._complete:
            self.head += body[: HEAD_BYTES - len(self.head)]
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        """Take note that the answer is whole; an interim one is none."""
        if not self._in_head and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
