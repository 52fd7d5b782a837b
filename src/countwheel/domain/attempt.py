"""One call of a run: what is sent, and what can come of it."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request, ready to leave.

    `timeout_seconds` spans everything: name lookup, connection, TLS, request and response.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_seconds: float
    method: str = "POST"


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
    REPORTED = "reported"
    """The target had accepted the run, and said that it failed."""
    OVERDUE = "overdue"
    """The target had accepted the run, and said nothing in time."""


@dataclass(frozen=True, slots=True)
class Response:
    """The target answered. `head` is the first 4 KiB of the body at most."""

    status: int
    head: bytes
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The target gave no (whole) answer.

    `maybe_sent` is False only where it is certain that no byte of the request left this machine: that certainty is
    what lets an at-most-once run be tried again.
    """

    kind: FailureKind
    detail: str
    maybe_sent: bool


AttemptResult = Response | Failure
