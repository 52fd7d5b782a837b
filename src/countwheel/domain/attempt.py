"""One call of a run: what is sent, what can come of it, and how it went on the way."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from msgspec import Struct

MAX_TRACE_CHARACTERS = 200
"""What the text form of a trace never exceeds."""

_UNKNOWN = "-"

SUCCESSES = range(200, 300)
"""The statuses by which a target says that it took the call."""

RETRY_HEADER = "countwheel-retry"
"""With `never`, a target ends a run that would be tried again."""


class Call(Struct, frozen=True):
    """An HTTP request, ready to leave.

    `timeout_seconds` spans everything: name lookup, connection, TLS, request and response.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    """What they hold may be anybody's: it is judged when the request is written."""
    body: bytes
    timeout_seconds: float
    method: str = "POST"
    written: str = ""
    """Further headers of our own making, as they leave: each a line with its end."""

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers as pairs, ours first."""
        ours = [line.partition(": ")[::2] for line in self.written.split("\r\n") if line]
        return (*ours, *self.headers)


class FailureKind(StrEnum):
    """Why an attempt brought no HTTP status. The values stand in the ledger: never rename one."""

    BLOCKED = "blocked"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    ABORTED = "aborted"
    LOST = "lost"
    NOT_READY = "not_ready"
    """What the job says the call needs is not there: a secret, say."""
    REPORTED = "reported"
    """The target had accepted the run, and said that it failed."""
    OVERDUE = "overdue"
    """The target had accepted the run, and said nothing in time."""


class Trace(Struct, frozen=True):
    """Whom a call spoke to, and how long each step took, in milliseconds; None where it did not come to that step.

    `first_byte_ms` is from the last byte written to the first byte of the answer. A connection that was used before
    has no `connect_ms` and no `tls_ms`.
    """

    address: str | None = None
    port: int | None = None
    reused: bool = False
    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None

    def encode(self) -> str:
        """Return the form in which a trace is stored: its fields in order, at most `MAX_TRACE_CHARACTERS`.

        Durations keep a microsecond.
        """
        address, port = self.address or _UNKNOWN, _UNKNOWN if self.port is None else self.port
        if self.reused and self.dns_ms is None and self.first_byte_ms is not None and self.total_ms is not None:
            # Nearly every call: a connection that was there, and an answer.
            return f"{address} {port} reused - - - {self.first_byte_ms:.3f} {self.total_ms:.3f}"
        durations = (self.dns_ms, self.connect_ms, self.tls_ms, self.first_byte_ms, self.total_ms)
        steps = " ".join(_UNKNOWN if duration is None else f"{duration:.3f}" for duration in durations)
        return f"{address} {port} {'reused' if self.reused else 'new'} {steps}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the trace that `encode` wrote. Raises `ValueError`."""
        address, port, reused, *durations = text.split(" ")
        if len(durations) != 5:  # noqa: PLR2004 (the durations above)
            raise ValueError(f"not a trace: {text!r}")
        return cls(
            None if address == _UNKNOWN else address,
            None if port == _UNKNOWN else int(port),
            reused == "reused",
            *(None if duration == _UNKNOWN else float(duration) for duration in durations),
        )


@dataclass(frozen=True, slots=True)
class Response:
    """The target answered. `head` is the first 4 KiB of the body at most.

    `headers` are those of an answer that is no 2xx, names in lower case, in order, as many as fit into the sender's
    bound. Two answers are alike by what they say: headers and trace do not count.
    """

    status: int
    head: bytes
    retry_after: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    trace: Trace | None = field(default=None, compare=False)

    @property
    def wants_no_more(self) -> bool:
        """Whether the target says that the call is not to be tried again."""
        return any(name == RETRY_HEADER and value.strip().lower() == "never" for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Failure:
    """The target gave no (whole) answer.

    `maybe_sent` is False only where it is certain that no byte of the request left this machine: that certainty is
    what lets an at-most-once run be tried again.
    """

    kind: FailureKind
    detail: str
    maybe_sent: bool
    trace: Trace | None = field(default=None, compare=False)


AttemptResult = Response | Failure
