"""One HTTP/1.1 connection: writes a request, once, and reads its answer. It never resends, whatever happens to it."""

import asyncio
import select
import ssl
from collections.abc import Callable
from typing import NamedTuple, cast

from countwheel.delivery.answer import AnswerReader
from countwheel.delivery.deadlines import Deadlines
from countwheel.domain.attempt import FailureKind

_FIRST_BYTES = 65_536
"""So much of a body leaves together with the head; the rest follows as the target takes it."""

_NOTHING = memoryview(b"")

Broken = tuple[FailureKind, str]
"""Why an exchange brought no answer."""

Told = Callable[[Broken | None], None]
"""Is called once, when an exchange has ended: with None where the answer is there."""


class Place(NamedTuple):
    """What a connection leads to. The address is the one that was judged; all of a pool trust the same authorities."""

    is_tls: bool
    host: str
    port: int
    address: str

    @property
    def authority(self) -> str:
        """Address and port, for people."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Connection(asyncio.Protocol):
    """Idle, or in the middle of one exchange. Whoever holds it looks at `is_open` first.

    What comes while nothing was asked for (an answer before the request, more than was announced) closes it: the next
    answer read from such a connection could be the one to something else.
    """

    __slots__ = (
        "_clock", "_deadlines", "_has_ended", "_on_closed", "_paused", "_poll", "_rest", "_told", "_transport",
        "answered_at", "idle_since", "place", "reader", "used", "written_at",
    )  # fmt: skip

    def __init__(
        self,
        place: Place,
        deadlines: Deadlines,
        clock: Callable[[], float],
        on_closed: Callable[["Connection"], None],
    ) -> None:
        """`on_closed` is told once when a connection that was made is no more."""
        self.place = place
        self._deadlines = deadlines
        self._clock = clock
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._told: Told | None = None
        self._rest = _NOTHING
        self._paused = False
        self._has_ended = False
        self.reader = AnswerReader()
        self.used = False
        """Whether it was lent before."""
        self.idle_since = 0.0
        self.written_at = 0.0
        self.answered_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing speaks against using it."""
        return self._transport is not None and not self._has_ended and not self._transport.is_closing()

    @property
    def is_gone(self) -> bool:
        """Whether it was never made, or has been lost."""
        return self._transport is None

    def is_silent(self) -> bool:
        """Whether nothing lies at the socket, an end included, that the event loop has not come to yet."""
        return self._poll is not None and not self._poll.poll(0)

    def is_fit(self) -> bool:
        """Whether a request may be written, as the last look before it.

        A target that speaks before it was ever asked (as a mail server does) is no target: nothing could tell its words
        from an answer. Over TLS they are told apart by nobody but the transport: its tickets lie at the socket, too.
        """
        return self.is_open and (self.used or self.place.is_tls or self.is_silent())

    def exchange(self, head: bytes, body: bytes, deadline: float, told: Told) -> None:
        """Write a request, and tell when its answer is there, or why there will be none by the `deadline`.

        Its first byte is handed over in this very step. The answer stands in `reader` until the next exchange.
        """
        if self._transport is None or self._told is not None:
            raise RuntimeError("not a connection that is free")
        self.reader.begin()
        self.answered_at = None
        self._told = told
        self._deadlines.watch(self, deadline)
        if len(body) <= _FIRST_BYTES:
            self._transport.write(head + body)
            self.written_at = self._clock()
        else:
            self._rest = memoryview(body)[_FIRST_BYTES:]
            self._transport.write(head + body[:_FIRST_BYTES])
            self._write_on()

    def forget(self) -> None:
        """Tell nobody any more how the exchange ends: whoever asked has gone."""
        self._stop_waiting()

    def abort(self) -> None:
        """Close it, now. What waits for an answer is told that there will be none."""
        if self._told is not None:
            self._finish((FailureKind.DISCONNECTED, "the connection was closed by this side"))
        elif self._transport is not None:
            self._transport.abort()

    def time_is_up(self) -> None:
        """End the exchange: its deadline has come."""
        self._finish((FailureKind.TIMEOUT, ""))

    # What the event loop calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._told is None:
            self.abort()
            return
        if self.answered_at is None:
            self.answered_at = self._clock()
        reader = self.reader
        reader.feed(data)
        if reader.fault is not None:
            self._finish((FailureKind.PROTOCOL, reader.fault))
        elif reader.done:
            self._finish(None)

    def eof_received(self) -> None:
        """The target has ended its side: so do we, and the answer is what has come."""
        self._has_ended = True
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        self._ended(exc)
        self._transport = self._poll = None
        self.reader.release()
        self._on_closed(self)

    def pause_writing(self) -> None:
        """Wait with the rest of a body: the target is slow."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on with it."""
        self._paused = False
        self._write_on()

    def _write_on(self) -> None:
        while self._rest and not self._paused and self.is_open and self._transport is not None:
            piece, self._rest = self._rest[:_FIRST_BYTES], self._rest[_FIRST_BYTES:]
            self._transport.write(piece)
        self.written_at = self._clock()

    def _ended(self, error: Exception | None) -> None:
        if self._told is None:
            return
        if self.reader.end():
            self._finish(None)
        elif isinstance(error, ssl.SSLError):
            self._finish((FailureKind.TLS, str(error)))
        else:
            how = "within its answer" if self.answered_at is not None else "without an answer"
            self._finish((FailureKind.DISCONNECTED, f"the target closed the connection {how}" + _because(error)))

    def _finish(self, broken: Broken | None) -> None:
        """Tell how it ended. What was no clean end is the end of the connection, too, at once: nothing more is read."""
        all_written = not self._rest and self._transport is not None and self._transport.get_write_buffer_size() == 0
        told = self._stop_waiting()
        if broken is not None or not self.reader.clean or not all_written:
            self.reader.end()
            if self._transport is not None:
                self._transport.abort()
        if told is not None:
            told(broken)

    def _stop_waiting(self) -> Told | None:
        told, self._told = self._told, None
        self._rest = _NOTHING
        self._deadlines.release(self)
        return told


def _because(error: Exception | None) -> str:
    return f": {error}" if error is not None and str(error) else ""
