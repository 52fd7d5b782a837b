"""What the doctor says of one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. Whoever attacks, or a crash, gets by what is unsafe; a warning is what makes that easier."""

    OK = "ok"
    WARNING = "warning"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `check` is stable; `why` and `remedy` are empty where all is well."""

    check: str
    severity: Severity
    seen: str
    why: str = ""
    remedy: str = ""


def good(check: str, seen: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Severity.OK, seen)


def doubtful(check: str, seen: str, why: str, remedy: str) -> Finding:
    """Return a warning."""
    return Finding(check, Severity.WARNING, seen, why, remedy)


def unsafe(check: str, seen: str, why: str, remedy: str) -> Finding:
    """Return what must not stay so."""
    return Finding(check, Severity.UNSAFE, seen, why, remedy)
