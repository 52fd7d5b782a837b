"""Query parameters and ids in paths, read strictly: a mistyped filter that is passed over would be a trap."""

import re
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

from starlette.requests import Request

from countwheel.api.contract import Contract
from countwheel.api.paging import Page, read_page
from countwheel.api.problems import invalid_parameter
from countwheel.domain.errors import Fault, InvalidError, ScheduleError
from countwheel.domain.timestamp import parse_oneoff

_Choice = TypeVar("_Choice", bound=StrEnum)

_PAGING = ("page_size", "page_token")
_SWITCH = {"true": True, "false": False}
_IN_NAMES = ":[]"
"""What names hold beside letters, digits, `.`, `_` and `-`: `[::1]:8443` is a target's."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class Parameters:
    """The query parameters of a request. Raises the 400 problem for an unknown, repeated or malformed one."""

    def __init__(self, request: Request, *known: str, repeatable: tuple[str, ...] = ("label",)) -> None:
        self._path = request.url.path
        self._values: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            if name not in known:
                allowed = f"known are {', '.join(known)}" if known else "this operation has none"
                raise invalid_parameter(name[:64], f"unknown parameter; {allowed}")
            if name in self._values and name not in repeatable:
                raise invalid_parameter(name, "given more than once")
            if "\x00" in value:
                raise invalid_parameter(name, "holds NUL")
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """Return a parameter as it is."""
        values = self._values.get(name)
        return values[0] if values else None

    def shaped(self, name: str, contract: Contract, schema: str) -> list[str]:
        """Return every value of a parameter, each as one of the contract's schemas has it."""
        values = self._values.get(name, [])
        for value in values:
            for fault in contract.faults(schema, value):
                raise invalid_parameter(name, fault.detail)
        return values

    def choice(self, name: str, choices: type[_Choice]) -> _Choice | None:
        """Return one of the values of an enumeration."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return choices(text)
        except ValueError as error:
            raise invalid_parameter(name, f"give one of {', '.join(choices)}") from error

    def switch(self, name: str) -> bool:
        """Return true or false, by default false."""
        text = self.text(name)
        if text is None:
            return False
        if text not in _SWITCH:
            raise invalid_parameter(name, "give true or false")
        return _SWITCH[text]

    def whole_number(self, name: str, least: int, most: int, default: int) -> int:
        """Return a whole number within bounds."""
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise invalid_parameter(name, f"give a whole number from {least} to {most}")
        return int(text)

    def instant(self, name: str) -> datetime | None:
        """Return an instant (RFC 3339 with offset)."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_oneoff(text, None)
        except ScheduleError as error:
            raise invalid_parameter(name, str(error)) from error

    def page(self) -> Page:
        """Return the page that is asked for; its token is bound to this path and the other parameters."""
        filters = {name: sorted(values) for name, values in self._values.items() if name not in _PAGING}
        return read_page(self.text("page_size"), self.text("page_token"), filters | {"path": [self._path.rstrip("/")]})


def instant_at(text: str, pointer: str) -> datetime:
    """Return the instant that a body has at `pointer`. Raises `InvalidError` for one that no calendar has."""
    try:
        return parse_oneoff(text, None)
    except ScheduleError as error:
        raise InvalidError([Fault(pointer, str(error))]) from error


def path_name(request: Request, contract: Contract, schema: str, *, of: str = "name") -> str:
    """Return a name in the path. Raises the 400 problem if it is not as one of the contract's schemas has it."""
    name = str(request.path_params[of])
    for fault in contract.faults(schema, name):
        raise invalid_parameter(of, fault.detail)
    return name


def canonical(text: str) -> str:
    """Return a part of a path as it is in the name of a resource: an id in lower case, whatever else as it is.

    What no id and no name can hold is percent-encoded: a resource stands in headers and in the audit log.
    """
    return text.lower() if _UUID.fullmatch(text) else quote(text, safe=_IN_NAMES)


def path_uuid(request: Request, name: str) -> UUID:
    """Return an id in the path. Raises the 400 problem if it is no UUID in its usual form."""
    text = str(request.path_params[name])
    if _UUID.fullmatch(text) is None:
        raise invalid_parameter(name, "not a UUID like 01890a5d-ac96-774b-bcce-b302099a8057")
    return UUID(text)
