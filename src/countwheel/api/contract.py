"""The contract, loaded: the document that is published, and the schemas that bodies are judged by."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Self, cast

import yaml
from jsonschema_rs import Draft202012Validator, ValidationError

from countwheel.domain.calling import HEADER_NAME_PATTERN
from countwheel.domain.cron import CRON_PATTERN
from countwheel.domain.errors import Fault, InvalidError, escaped
from countwheel.domain.exclusion import DATE_PATTERN
from countwheel.domain.schedule import RECURRING_IN_ZONE_PATTERN, RECURRING_PATTERN
from countwheel.domain.target import TARGET_NAME_PATTERN, TARGET_PATTERN
from countwheel.domain.terms import TERM_FIELDS
from countwheel.domain.timestamp import INSTANT_PATTERN, LOCAL_TIME_PATTERN
from countwheel.domain.window import WINDOW_LENGTH_PATTERN, WINDOW_PATTERN
from countwheel.domain.zones import zones

_PATTERNS = {
    "cron": RECURRING_PATTERN,
    "cron-in-zone": RECURRING_IN_ZONE_PATTERN,
    "instant": INSTANT_PATTERN,
    "local-time": LOCAL_TIME_PATTERN,
    "target": TARGET_PATTERN,
    "target-name": TARGET_NAME_PATTERN,
    "date": DATE_PATTERN,
    "excluded-time": f"^{CRON_PATTERN}$",
    "window": WINDOW_PATTERN,
    "window-length": WINDOW_LENGTH_PATTERN,
    "header-name": HEADER_NAME_PATTERN,
}

_WRONG_PATTERN = {
    "job_url": "not a URL to call: give http:// or https://, a host, and no user name, fragment or space",
    "name": "must not hold control characters",
}
_INTERVAL_THAT_ROLLS = "an interval names no wall-clock time that could roll to another day: give skip"
_HELD = "at_most_once cannot send again what may have arrived: leave on_unknown out, or give hold"
_ONE_SCHEDULE = "give exactly one of schedule_recurring and schedule_oneoff"
_AUTHORIZATION = "give type bearer with secret, basic with username and secret, or oidc with audience"
_ECHO_CHARACTERS = 64


# libyaml where it was built in: it reads the contract ten times as fast at every start.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Contract:
    """The OpenAPI document with everything filled in that `x-fill` marks."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.json = json.dumps(document, ensure_ascii=False).encode()
        self._validators: dict[str, Draft202012Validator] = {}

    @classmethod
    def load(cls) -> Self:
        """Return the contract of this release."""
        text = (resources.files(__package__) / "openapi.yaml").read_text(encoding="utf-8")
        document: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506 (both loaders are safe ones)
        for schema in document["components"]["schemas"].values():
            _fill(schema)
        return cls(document)

    def faults(self, schema: str, value: object) -> list[Fault]:
        """Return everything that is wrong with a value by one of the contract's schemas, said for people (E2)."""
        validator = self._validators.get(schema) or self._compile(schema)
        if validator.is_valid(value):
            return []
        found: dict[str, Fault] = {}
        for error in validator.iter_errors(value):
            for fault in _faults_of(error, value):
                found.setdefault(fault.pointer, fault)
        return list(found.values())

    def checked(self, schema: str, body: object) -> Mapping[str, Any]:
        """Return a body that is as a schema of an object has it. Raises `InvalidError` with every fault (E2)."""
        if faults := self.faults(schema, body):
            raise InvalidError(faults)
        return cast("Mapping[str, Any]", body)

    def _compile(self, schema: str) -> Draft202012Validator:
        root = {"$ref": f"#/components/schemas/{schema}", "components": self.document["components"]}
        self._validators[schema] = Draft202012Validator(root)
        return self._validators[schema]


def _fill(schema: dict[str, Any]) -> None:
    match schema.pop("x-fill", None):
        case None:
            return
        case "zones":
            schema["enum"] = sorted(zones())
        case name:
            schema["pattern"] = _PATTERNS[name]


def _faults_of(error: ValidationError, value: object) -> list[Fault]:
    pointer = "#" + "".join(f"/{escaped(str(part))}" for part in error.instance_path)
    kind = type(error.kind).__name__.removeprefix("ValidationErrorKind_")
    keyword = str(error.schema_path[-1]) if error.schema_path else ""
    if keyword in {"oneOf", "anyOf"} and pointer == "#":
        return _schedule_faults(value)
    if keyword == "not" and pointer == "#":
        return _contradictions(value)
    if keyword == "required":
        return [Fault(f"#/{escaped(name)}", "is required") for name in _missing(error)]
    if keyword == "dependentRequired":
        if isinstance(value, dict) and "burst" in value:
            return [Fault(f"{pointer}/rate_per_second", "is required together with burst")]
        return [Fault(f"{pointer}/cancel_url", "is required together with cancel_method")]
    if keyword == "oneOf" and pointer == "#/authorization":
        return [Fault(pointer, _AUTHORIZATION)]
    if keyword == "additionalProperties" and kind:
        names = getattr(error.kind, "unexpected", None) or []
        return [Fault(f"{pointer}/{escaped(name[:_ECHO_CHARACTERS])}", "is not a field of a job") for name in names]
    name = str(error.instance_path[-1]) if error.instance_path else ""
    if keyword == "pattern" and name in _WRONG_PATTERN:
        return [Fault(pointer, _WRONG_PATTERN[name])]
    if keyword == "enum" and name == "timezone":
        return [Fault(pointer, "is not an IANA time zone: give one like Europe/Berlin")]
    return [Fault(pointer, _sentence(error))]


def _contradictions(value: object) -> list[Fault]:
    """Say which fields that are right by themselves contradict each other."""
    if not isinstance(value, dict):
        return []
    is_held = value.get("delivery") == "at_most_once" and value.get("on_unknown") == "retry"
    rolls = value.get("on_excluded") in {"next", "previous"} and "@every " in str(value.get("schedule_recurring"))
    found = {"#/on_unknown": _HELD} if is_held else {}
    return [Fault(*pair) for pair in (found | ({"#/on_excluded": _INTERVAL_THAT_ROLLS} if rolls else {})).items()]


def _schedule_faults(value: object) -> list[Fault]:
    """Say in what way a body misses every shape of a schedule."""
    if not isinstance(value, dict):
        return []
    recurring, oneoff = "schedule_recurring" in value, "schedule_oneoff" in value
    if recurring == oneoff:
        return [Fault("#", _ONE_SCHEDULE)]
    if recurring or not isinstance(value["schedule_oneoff"], str) or not value.keys().isdisjoint(TERM_FIELDS):
        return []  # what the field means, or its type, says more
    return [
        Fault(
            "#/schedule_oneoff",
            "give RFC 3339 with an offset and no timezone, like 2027-01-01T09:00:00+01:00, "
            "or local time together with timezone",
        )
    ]


def _missing(error: ValidationError) -> list[str]:
    name = getattr(error.kind, "property", None)
    return [str(name).strip('"')] if name is not None else []


def _sentence(error: ValidationError) -> str:
    # The validator's messages begin with the value, which may be huge: what is after it says what is wrong.
    masked = getattr(error, "message", "")
    for marker in (
        " is not ",
        " is less ",
        " is greater ",
        " is longer ",
        " is shorter ",
        " does not ",
        " has ",
        " was ",
    ):
        position = masked.rfind(marker)
        if position >= 0:
            return str(masked[position + 1 :])[:200]
    return str(masked)[:200]


@cache
def load_contract() -> Contract:
    """Return the contract, loaded once a process."""
    return Contract.load()
