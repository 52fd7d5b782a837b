"""How the elements of a policy document are read: to its end, so that all faults are told at once (criterion E2)."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from countwheel.domain.errors import Fault, escaped

_ECHO_CHARACTERS = 64
_INSTEAD = {
    "NotAction": "name the actions in Action",
    "NotResource": "name the resources in Resource",
    "Principal": "a policy is attached to its principals",
    "NotPrincipal": "a policy is attached to its principals",
    "Id": "a policy is called by its name",
}
"""Elements that others know, and what does their work here."""


class Reading:
    """A document that is being read, and what was found to be wrong with it so far."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, pointer: str, detail: str) -> None:
        """Note what is wrong, and where."""
        self.faults.append(Fault(pointer, detail))

    def element(self, value: object, pointer: str, known: Collection[str], required: Collection[str]) -> dict[str, Any]:
        """Return the members of an object that are `known`, and note the others, and those that are missing."""
        if not isinstance(value, Mapping):
            self.fault(pointer, "must be a JSON object")
            return {}
        for name in value:
            if name not in known:
                self.fault(within(pointer, name), _unknown(name, known))
        for name in required:
            if name not in value:
                self.fault(within(pointer, name), "is required")
        return {name: value[name] for name in known if name in value}

    def members(self, value: object, pointer: str, called: str) -> list[tuple[str, str, Any]]:
        """Return name, pointer and value of each member of an object, which must have some; they are `called` so."""
        if not isinstance(value, Mapping):
            self.fault(pointer, "must be a JSON object")
            return []
        if not value:
            self.fault(pointer, f"names no {called}: give one, or leave Condition out")
        return [(str(name), within(pointer, name), member) for name, member in value.items()]

    def items(self, value: object, pointer: str, most: int, one: type, called: str) -> list[tuple[str, Any]]:
        """Return pointer and value of each item of a list, or of the `one` that may stand without a list."""
        if isinstance(value, one):
            return [(pointer, value)]
        if not isinstance(value, list):
            self.fault(pointer, f"must be {called} or a list of them")
            return []
        if not 1 <= len(value) <= most:
            self.fault(pointer, f"must hold from 1 to {most}, and holds {len(value)}")
        return [(f"{pointer}/{number}", item) for number, item in enumerate(value)]

    def texts(self, value: object, pointer: str, most: int, check: Callable[[str], object]) -> tuple[str, ...]:
        """Return the string, or those of a list, that `check` has nothing against. It says what by a `ValueError`."""
        good = []
        for place, text in self.items(value, pointer, most, str, "a string"):
            if not isinstance(text, str):
                self.fault(place, "must be a string")
                continue
            try:
                check(text)
            except ValueError as error:
                self.fault(place, str(error))
            else:
                good.append(text)
        return tuple(good)


def within(pointer: str, name: object) -> str:
    """Return the pointer to a member of what `pointer` points to."""
    return f"{pointer}/{escaped(str(name)[:_ECHO_CHARACTERS])}"


def one_of(names: Collection[str]) -> str:
    """Return names as a sentence lists them: `A, B or C`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _unknown(name: object, known: Collection[str]) -> str:
    if name in _INSTEAD:
        return f"is not supported: {_INSTEAD[str(name)]}"
    return f"is not supported: give {one_of(known)}, spelt so"
