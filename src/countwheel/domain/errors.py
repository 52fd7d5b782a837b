"""What can be wrong with a request, said so that the caller can mend it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a body: where (`pointer`, RFC 6901 as a URI fragment) and what would be right."""

    pointer: str
    detail: str


class InvalidError(ValueError):
    """A body that breaks the rules. Carries every fault at once (criterion E2)."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)
