"""A job's definition: what a submission means, or every reason why it means nothing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from countwheel.domain.errors import Fault, InvalidError
from countwheel.domain.policy import CATCHUP_WINDOW, Delivery, OnUnknown, RetryPolicy, default_on_unknown
from countwheel.domain.schedule import ScheduleError, parse_recurring
from countwheel.domain.target import target_fault, target_host
from countwheel.domain.timestamp import is_local, parse_oneoff

DEFAULT_TIMEOUT_SECONDS = 30.0
"""How long one call may take where the job does not say (criterion W8)."""

SCHEDULE_FIELDS = ("schedule_recurring", "schedule_oneoff", "timezone")
"""What a schedule is made of: a change of any of them plans anew."""

TargetRefusal = Callable[[str], str | None]
"""Says why a URL may not be called from this deployment, as far as its text tells, or None."""


class JobStatus(StrEnum):
    """Where a job stands. The values are the API's."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid submission. `job_payload` is the JSON text that will be signed and sent, byte for byte."""

    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    job_url: str
    target_host: str
    job_payload: str
    name: str | None
    timeout_seconds: float
    max_attempts: int
    delivery: Delivery
    on_unknown: OnUnknown
    first_occurrence: datetime
    labels: dict[str, str] = field(default_factory=dict)


def define(body: Mapping[str, Any], *, now: datetime, target_refusal: TargetRefusal) -> Definition:
    """Return what a submission that fits the contract's schema means at `now`.

    Raises `InvalidError` with every fault that the schema cannot express: a schedule that never fires, an instant in
    the past, a target that this deployment refuses.
    """
    faults, first = find_faults(body, now=now, target_refusal=target_refusal)
    if faults or first is None:
        raise InvalidError(faults or [Fault("#", "give exactly one of schedule_recurring and schedule_oneoff")])
    url = body["job_url"]
    delivery = Delivery(body.get("delivery", Delivery.AT_LEAST_ONCE))
    return Definition(
        schedule_recurring=body.get("schedule_recurring"),
        schedule_oneoff=body.get("schedule_oneoff"),
        timezone=body.get("timezone"),
        job_url=url,
        target_host=target_host(url),
        job_payload=compact_json(body.get("job_payload", {})),
        name=body.get("name"),
        labels=body.get("labels", {}),
        timeout_seconds=float(body.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        max_attempts=int(body.get("max_attempts", RetryPolicy().max_attempts)),
        delivery=delivery,
        on_unknown=OnUnknown(body.get("on_unknown", default_on_unknown(delivery))),
        first_occurrence=first,
    )


def find_faults(
    body: Mapping[str, Any], *, now: datetime, target_refusal: TargetRefusal
) -> tuple[list[Fault], datetime | None]:
    """Return every fault of meaning in a body whose shape may be wrong too, and the first occurrence if there is one.

    A field of the wrong type is passed over: the schema's own fault says it better.
    """
    faults: list[Fault] = []
    first: datetime | None = None
    timezone = _text(body, "timezone")
    try:
        if (expression := _text(body, "schedule_recurring")) is not None:
            first = parse_recurring(expression, timezone).next_after(now)
        if (moment := _text(body, "schedule_oneoff")) is not None:
            first = parse_oneoff(moment, timezone)
            if now - first > CATCHUP_WINDOW:
                faults.append(Fault("#/schedule_oneoff", _past(first, now - first)))
    except ScheduleError as error:
        faults.append(Fault(f"#/{error.field}", str(error)))
    if (url := _text(body, "job_url")) is not None and (refusal := target_fault(url) or target_refusal(url)):
        faults.append(Fault("#/job_url", refusal))
    return faults, first


def amended(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a submission with a merge patch applied (RFC 7396): null takes a field away.

    A new schedule of one kind takes the place of one of the other kind; an instant with its offset, of a time zone; a
    new delivery, of what the job did about unknown outcomes.
    """
    merged = {**stored, **patch}
    for given, replaced in _REPLACES.items():
        if patch.get(given) is not None and patch.get(replaced) is None:
            merged.pop(replaced, None)
    oneoff = patch.get("schedule_oneoff")
    if isinstance(oneoff, str) and "timezone" not in patch and not is_local(oneoff):
        merged.pop("timezone", None)
    return {name: value for name, value in merged.items() if value is not None}


_REPLACES = {
    "schedule_recurring": "schedule_oneoff",
    "schedule_oneoff": "schedule_recurring",
    "delivery": "on_unknown",
}


def compact_json(value: object) -> str:
    """Return JSON without white space, in the order it came: the bytes that are stored, signed and sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


def _past(instant: datetime, age: timedelta) -> str:
    hours = CATCHUP_WINDOW.total_seconds() / 3600
    return (
        f"{instant.isoformat()} is {age.total_seconds():.0f} s in the past, "
        f"further than the catch-up window of {hours:.0f} h: give a later time"
    )
