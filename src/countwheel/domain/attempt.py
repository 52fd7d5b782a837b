"""One POST of a run: what is sent, and what can come of it."""

from dataclasses import dataclass
from enum import StrEnum

RETRY_HEADER = "countwheel-retry"
"""With `never`, a target ends a run that would be tried again."""


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
    NOT_READY = "not_ready"
    """What the job says the call needs is not there: a secret, say."""


@dataclass(frozen=True, slots=True)
class Response:
    """The target answered. `head` is the first 4 KiB of the body at most; the names in `headers` are in lower case."""

    status: int
    head: bytes
    retry_after: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

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


AttemptResult = Response | Failure
