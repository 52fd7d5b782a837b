"""A job's definition: what a submission means, or every reason why it means nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from countwheel.domain import calling
from countwheel.domain.calling import find_calling_faults
from countwheel.domain.cron import NO_JOB
from countwheel.domain.errors import Fault, InvalidError, ScheduleError
from countwheel.domain.exclusion import OnExcluded
from countwheel.domain.interval import is_every
from countwheel.domain.policy import Delivery, OnUnknown, RetryPolicy, default_on_unknown
from countwheel.domain.schedule import Recurring, names_its_zone, parse_recurring
from countwheel.domain.target import TargetRefusal, find_target_faults, target_host
from countwheel.domain.terms import (
    NO_CALENDARS,
    NO_TERMS,
    PLANNED_BY,
    RECURRING_ONLY,
    Calendars,
    Terms,
    encode,
    read_terms,
)  # fmt: skip
from countwheel.domain.timestamp import is_local, parse_oneoff

DEFAULT_TIMEOUT_SECONDS = 30.0
"""How long one call may take where the job does not say (criterion W8)."""

DEFAULT_MAX_ATTEMPTS = RetryPolicy().max_attempts

SCHEDULE_FIELDS = ("schedule_recurring", "schedule_oneoff", "timezone", *PLANNED_BY)
"""What a schedule is made of: a change of any of them plans anew."""


class JobStatus(StrEnum):
    """Where a job stands. The values are the API's."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    DELETED = "DELETED"


class Definition(NamedTuple):
    """A valid submission. `job_payload` is the JSON text that will be signed and sent, byte for byte.

    It is a tuple because a frozen dataclass of so many fields takes 4 us to make, which every create would pay.
    """

    job_id: UUID
    schedule_recurring: str | None
    schedule_oneoff: str | None
    timezone: str | None
    terms: str | None
    """As they are stored: see `countwheel.domain.terms`."""
    calling: str | None
    """As it is stored: see `countwheel.domain.calling`."""
    job_url: str
    target_host: str
    job_payload: str
    name: str | None
    timeout_seconds: float
    max_attempts: int
    delivery: Delivery
    on_unknown: OnUnknown
    first_occurrence: datetime
    first_due_at: datetime
    labels: dict[str, str]


def define(
    body: Mapping[str, Any],
    job_id: UUID,
    *,
    now: datetime,
    target_refusal: TargetRefusal,
    calendars: Calendars = NO_CALENDARS,
) -> Definition:
    """Return what a submission that fits the contract's schema means at `now`, for the job of this id.

    `calendars` are those that it may name. Raises `InvalidError` with every fault that the schema cannot express: a
    schedule that never fires, an instant in the past, a target that this deployment refuses.
    """
    faults, first = find_faults(body, job_id, now=now, target_refusal=target_refusal, calendars=calendars)
    if faults or first is None:
        raise InvalidError(faults or [Fault("#", "give exactly one of schedule_recurring and schedule_oneoff")])
    url = body["job_url"]
    delivery = Delivery(body.get("delivery", Delivery.AT_LEAST_ONCE))
    terms = read_terms(body, calendars)
    return Definition(
        job_id=job_id,
        schedule_recurring=body.get("schedule_recurring"),
        schedule_oneoff=body.get("schedule_oneoff"),
        timezone=body.get("timezone"),
        terms=encode(terms),
        calling=calling.encode(body),
        job_url=url,
        target_host=target_host(url),
        job_payload=compact_json(body.get("job_payload", {})),
        name=body.get("name"),
        labels=body.get("labels", {}),
        timeout_seconds=float(body.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        max_attempts=int(body.get("max_attempts", DEFAULT_MAX_ATTEMPTS)),
        delivery=delivery,
        on_unknown=OnUnknown(body.get("on_unknown", default_on_unknown(delivery))),
        first_occurrence=first,
        first_due_at=_due_at(body, job_id, terms, first),
    )


def find_faults(
    body: Mapping[str, Any],
    job_id: UUID = NO_JOB,
    *,
    now: datetime,
    target_refusal: TargetRefusal,
    calendars: Calendars = NO_CALENDARS,
) -> tuple[list[Fault], datetime | None]:
    """Return every fault of meaning in a body whose shape may be wrong too, and the first occurrence if there is one.

    A field of the wrong type is passed over: the schema's own fault says it better.
    """
    faults, first = find_schedule_faults(body, job_id, now=now, calendars=calendars)
    faults += find_target_faults(body, ("job_url",), target_refusal)
    faults += find_calling_faults(body, target_refusal)
    return faults, first


def find_schedule_faults(
    body: Mapping[str, Any], job_id: UUID, *, now: datetime, calendars: Calendars = NO_CALENDARS
) -> tuple[list[Fault], datetime | None]:
    """Return every fault in what a body says of its schedule, and the first occurrence if there is one."""
    faults: list[Fault] = []
    first: datetime | None = None
    terms = NO_TERMS
    try:
        terms = read_terms(body, calendars)
    except ScheduleError as error:
        faults.append(Fault(f"#/{error.field}", str(error)))
    try:
        first = _first_occurrence(body, job_id, terms, now)
    except ScheduleError as error:
        faults.append(Fault(f"#/{error.field}", str(error)))
    if (misfit := _misfit(body, terms)) is not None:
        faults.append(misfit)
    if "schedule_oneoff" in body:
        misplaced = [name for name in RECURRING_ONLY if body.get(name) is not None]
        faults += [Fault(f"#/{name}", "only a recurring job has it") for name in misplaced]
    return faults, first


def _misfit(body: Mapping[str, Any], terms: Terms) -> Fault | None:
    """Return what two terms that are right by themselves make wrong together."""
    expression = _text(body, "schedule_recurring")
    if expression is not None and is_every(expression) and terms.on_excluded not in {None, OnExcluded.SKIP}:
        return Fault("#/on_excluded", "an interval names no wall-clock time that could roll to another day: give skip")
    if "schedule_oneoff" in body and terms.window is not None and terms.window.length is None:
        return Fault("#/window", "a one-off job has no interval that this could be a share of: give a time like 15m")
    return None


def _first_occurrence(body: Mapping[str, Any], job_id: UUID, terms: Terms, now: datetime) -> datetime | None:
    """Return when a job would run first, or None where its body does not say. Raises `ScheduleError`."""
    timezone = _text(body, "timezone")
    if (moment := _text(body, "schedule_oneoff")) is not None:
        instant = parse_oneoff(moment, timezone)
        if now - instant > terms.catchup_window:
            raise ScheduleError("schedule_oneoff", _past(instant, now - instant, terms.catchup_window))
        return instant
    if (expression := _text(body, "schedule_recurring")) is None:
        return None
    schedule = parse_recurring(expression, timezone, job_id)
    first = replace(schedule, terms=terms).next_after(now)
    if first is None:
        raise _nothing_left(schedule, terms, now)
    return first


def _nothing_left(schedule: Recurring, terms: Terms, now: datetime) -> ScheduleError:
    """Return why a schedule has no occurrence by these terms: what is taken away for it to have one."""

    def is_empty(**without: None) -> bool:
        return replace(schedule, terms=replace(terms, **without)).next_after(now) is None

    if is_empty(end_at=None) and not is_empty(exclude=None):
        return ScheduleError("exclude", "nothing is left: no day to roll to is free for ten years")
    field = "schedule_recurring" if schedule.next_after(now) is None else "end_at"
    return ScheduleError(field, "nothing is left: the last occurrence is past")


def _due_at(body: Mapping[str, Any], job_id: UUID, terms: Terms, first: datetime) -> datetime:
    if (expression := _text(body, "schedule_recurring")) is not None:
        return parse_recurring(expression, _text(body, "timezone"), job_id, terms).due_at(first)
    return terms.due_once(job_id, first)


def amended(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a submission with a merge patch applied (RFC 7396): null takes a field away.

    A new schedule of one kind takes the place of one of the other kind; one that names its offset or zone, of a time
    zone; a new delivery, of what the job did about unknown outcomes.
    """
    merged = {**stored, **patch}
    for given, replaced in _REPLACES.items():
        for name in replaced if patch.get(given) is not None else ():
            if patch.get(name) is None:
                merged.pop(name, None)
    oneoff = patch.get("schedule_oneoff")
    if isinstance(oneoff, str) and "timezone" not in patch and not is_local(oneoff):
        merged.pop("timezone", None)
    expression = patch.get("schedule_recurring")
    if isinstance(expression, str) and "timezone" not in patch and names_its_zone(expression):
        merged.pop("timezone", None)
    return {name: value for name, value in merged.items() if value is not None}


_REPLACES = {
    "schedule_recurring": ("schedule_oneoff",),
    "schedule_oneoff": ("schedule_recurring", *RECURRING_ONLY),
    "delivery": ("on_unknown",),
}


def compact_json(value: object) -> str:
    """Return JSON without white space, in the order it came: the bytes that are stored, signed and sent."""
    return _compact(value)


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


def _past(instant: datetime, age: timedelta, window: timedelta) -> str:
    return (
        f"{instant.isoformat()} is {age.total_seconds():.0f} s in the past, "
        f"further than the catch-up window of {window.total_seconds():.0f} s: give a later time"
    )
