"""What can be wrong with a request, said so that the caller can mend it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a body: where (`pointer`, RFC 6901 as a URI fragment) and what would be right."""

    pointer: str
    detail: str


def escaped(name: str) -> str:
    """Return a member's name as one part of a pointer (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


def together(of_shape: Sequence[Fault], of_meaning: Sequence[Fault]) -> list[Fault]:
    """Return all faults, one a place: what is known of a value's meaning says more than what its shape lacks."""
    understood = {fault.pointer for fault in of_meaning}
    return [fault for fault in of_shape if fault.pointer not in understood] + list(of_meaning)


class InvalidError(ValueError):
    """A body that breaks the rules. Carries every fault at once (criterion E2)."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


class ScheduleError(ValueError):
    """A schedule that means nothing. `field` is the name of the field that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
