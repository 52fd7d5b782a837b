"""How far one call has come, and what keeps one from leaving."""

from countwheel.domain.attempt import FailureKind, Trace


class UnsentError(Exception):
    """A call cannot leave: certainly nothing was sent."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Way:
    """What a trace is made of, filled in step by step."""

    address: str | None = None
    port: int | None = None
    reused = False
    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None

    def __init__(self, began: float) -> None:
        self.began = began

    def trace(self, now: float) -> Trace:
        """Return what is on record of it when it ends."""
        return Trace(
            self.address, self.port, self.reused, self.dns_ms, self.connect_ms, self.tls_ms, self.first_byte_ms,
            milliseconds(self.began, now),
        )  # fmt: skip


def milliseconds(began: float, ended: float) -> float:
    """Return the time between two moments, never below zero."""
    return (ended - began) * 1000 if ended > began else 0.0
