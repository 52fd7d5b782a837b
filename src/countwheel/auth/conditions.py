"""Conditions of a statement: what must be true of a request beside its action and resource. Pure.

A key without a value leaves a condition undecided (`None`): neither it nor its opposite is known to hold. What comes of
that is the statement's to say: an Allow does not apply then, a Deny does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from msgspec import Struct

from countwheel.auth.elements import Reading, one_of
from countwheel.auth.globs import check_glob, compile_globs
from countwheel.delivery.networks import Network, unmapped
from countwheel.domain.errors import ScheduleError
from countwheel.domain.timestamp import parse_oneoff

MAX_VALUES = 100
MAX_TEXT_CHARACTERS = 512

_CIDR = re.compile(r"[0-9A-Fa-f:.]+(?:/(?:0|[1-9][0-9]{0,2}))?", re.ASCII)


class Context(Struct, frozen=True):
    """What is known of a request. `now` is aware; `source_ip` is the client's, or None where nobody can tell."""

    now: datetime
    source_ip: IPv4Address | IPv6Address | None
    principal_id: str


@dataclass(frozen=True, slots=True)
class Condition:
    """An operator, a key and values, as they are written. Construct it of what `read_conditions` accepts."""

    operator: str
    key: str
    values: tuple[str, ...]
    _is_met: Callable[[Any], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        operator = OPERATORS[self.operator]
        met = operator.compile([operator.parse(value) for value in self.values])
        object.__setattr__(self, "_is_met", (lambda value: not met(value)) if operator.is_negated else met)

    def holds(self, context: Context) -> bool | None:
        """Whether it holds; None where its key has no value."""
        value = KEYS[self.key].value_in(context)
        return None if value is None else self._is_met(value)


@dataclass(frozen=True, slots=True)
class Operator:
    """What is done with a key of its `kind`: one of the values must suit; of a negated one, none may."""

    kind: str
    parse: Callable[[str], Any]
    """Reads a value as it is written. Raises `ValueError`."""
    compile: Callable[[Sequence[Any]], Callable[[Any], bool]]
    """Makes of all values that were read what tells whether a key's value suits one of them."""
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """Something that conditions can ask for, and what it is."""

    kind: str
    value_in: Callable[[Context], Any]
    """Returns None where the request has none."""


def read_conditions(reading: Reading, value: object, pointer: str) -> tuple[Condition, ...]:
    """Return the conditions of a `Condition` element; the faults go to `reading`."""
    found = []
    for operator, place, keys in reading.members(value, pointer, "operator"):
        if operator not in OPERATORS:
            reading.fault(place, f"is no operator: give {one_of(OPERATORS)}")
            continue
        for key, place_of_key, values in reading.members(keys, place, "key"):
            if why := _unsuited(operator, key):
                reading.fault(place_of_key, why)
                continue
            seen = len(reading.faults)
            texts = reading.texts(values, place_of_key, MAX_VALUES, OPERATORS[operator].parse)
            if len(reading.faults) == seen:
                found.append(Condition(operator, key, texts))
    return tuple(found)


def _unsuited(operator: str, key: str) -> str | None:
    if key not in KEYS:
        return f"is no key: give {one_of(KEYS)}"
    kind = KEYS[key].kind
    if kind != OPERATORS[operator].kind:
        return f"is {kind}: use it with {one_of([name for name, other in OPERATORS.items() if other.kind == kind])}"
    return None


def _read_text(text: str) -> str:
    if not 1 <= len(text) <= MAX_TEXT_CHARACTERS or not text.isprintable():
        raise ValueError(f"must have from 1 to {MAX_TEXT_CHARACTERS} characters that can be printed")
    if "${" in text:
        raise ValueError("has a variable ${...}, which is not supported: it would stand for itself")
    return text


def _read_pattern(text: str) -> str:
    check_glob(_read_text(text))
    return text


def _read_network(text: str) -> Network:
    if _CIDR.fullmatch(text) is None:
        raise ValueError("is no network: give one like 203.0.113.0/24 or 2001:db8::/32, or one address")
    try:
        return unmapped(ip_network(text))
    except ValueError as error:
        raise ValueError(f"is no network: {error}") from error


def _read_instant(text: str) -> datetime:
    try:
        return parse_oneoff(text, None)
    except ScheduleError as error:
        raise ValueError("is no time: give RFC 3339 with an offset, like 2027-01-01T09:00:00Z") from error


def _among(networks: Sequence[Network]) -> Callable[[IPv4Address | IPv6Address], bool]:
    return lambda address: any(address in network for network in networks)


def _source_address(context: Context) -> IPv4Address | IPv6Address | None:
    # A socket that takes both families shows an IPv4 client as ::ffff:a.b.c.d, which lies in no IPv4 network.
    address = context.source_ip
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


_TEXT, _ADDRESS, _TIME = "a text", "an address", "a time"

OPERATORS: Mapping[str, Operator] = {
    "StringEquals": Operator(_TEXT, _read_text, lambda texts: frozenset(texts).__contains__),
    "StringNotEquals": Operator(_TEXT, _read_text, lambda texts: frozenset(texts).__contains__, is_negated=True),
    "StringLike": Operator(_TEXT, _read_pattern, compile_globs),
    "StringNotLike": Operator(_TEXT, _read_pattern, compile_globs, is_negated=True),
    "IpAddress": Operator(_ADDRESS, _read_network, _among),
    "NotIpAddress": Operator(_ADDRESS, _read_network, _among, is_negated=True),
    "DateGreaterThan": Operator(_TIME, _read_instant, lambda instants: lambda now: now > min(instants)),
    "DateLessThan": Operator(_TIME, _read_instant, lambda instants: lambda now: now < max(instants)),
}
"""Every operator, by its name."""

KEYS: Mapping[str, Key] = {
    "countwheel:SourceIp": Key(_ADDRESS, _source_address),
    "countwheel:CurrentTime": Key(_TIME, lambda context: context.now),
    "countwheel:PrincipalId": Key(_TEXT, lambda context: context.principal_id),
}
"""Every key, by its name. None tells the tenant: a policy is one tenant's own, and reaches no further."""
