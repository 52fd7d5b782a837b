"""The terms of a schedule: what a job says about its occurrences beside the expression itself.

They are kept as one text, empty for most jobs, so that a claim carries no more than it needs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from countwheel.domain.errors import ScheduleError
from countwheel.domain.exclusion import (
    CalendarCopy,
    Exclude,
    OnExcluded,
    read_exclusion,
    write_exclusion,
)  # fmt: skip
from countwheel.domain.policy import CATCHUP_WINDOW, Misfire, Overlap
from countwheel.domain.timestamp import format_instant, parse_oneoff
from countwheel.domain.window import Window, parse_window


class DstGap(StrEnum):
    """What becomes of a wall-clock time that a change of the clocks leaves out."""

    SHIFT = "shift"
    SKIP = "skip"


class DstOverlap(StrEnum):
    """When a wall-clock time that comes twice is meant."""

    FIRST = "first"
    LAST = "last"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Terms:
    """None is what the job does not say."""

    dst_gap: DstGap | None = None
    dst_overlap: DstOverlap | None = None
    start_at: datetime | None = None
    """No occurrence is before it."""
    end_at: datetime | None = None
    """No occurrence is after it."""
    exclude: Exclude | None = None
    """Days and times that are left out."""
    on_excluded: OnExcluded | None = None
    max_runs: int | None = None
    """So many occurrences are taken up at the most."""
    window: Window | None = None
    """How far after its instant an occurrence is due, at the most: each job has its own place in it."""
    overlap: Overlap | None = None
    misfire: Misfire | None = None
    catchup_window_seconds: float | None = None

    @property
    def catchup_window(self) -> timedelta:
        """How late an occurrence may be before it is not worth running at all."""
        stated = self.catchup_window_seconds
        return CATCHUP_WINDOW if stated is None else timedelta(seconds=stated)

    def due_once(self, job_id: UUID, moment: datetime) -> datetime:
        """Return when the one run of a one-off job is due: at its moment, or at its place in the window after it."""
        return moment if self.window is None else self.window.due_at(job_id, moment, None)


Calendars = Mapping[str, CalendarCopy]
"""Named calendars of a tenant."""

NO_CALENDARS: Calendars = {}
NO_TERMS = Terms()
_COPIES = "calendar_copies"
TERM_FIELDS = tuple(field.name for field in fields(Terms))
"""The fields of a submission that are terms."""

_NAMING = ("dst_gap", "dst_overlap", "start_at", "end_at", "exclude", "on_excluded", "max_runs")
PLANNED_BY = (*_NAMING, "window")
"""Those that decide which occurrences there are, and when each is due: a change of any of them plans anew."""

RECURRING_ONLY = (*_NAMING, "overlap", "misfire")
"""Those that mean nothing to a one-off job."""


def _instant(text: str) -> datetime:
    return parse_oneoff(text, None)


def _exclude(body: Mapping[str, Any]) -> Exclude:
    try:
        own = read_exclusion(body)
    except ScheduleError as error:
        raise ScheduleError(f"exclude/{error.field}", str(error)) from error
    names = body.get("calendars")
    return Exclude(own, tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ())


def _write_exclude(exclude: Exclude) -> object:
    return write_exclusion(exclude.own) | ({"calendars": list(exclude.calendars)} if exclude.calendars else {})


_READ: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
    "dst_gap": (str, DstGap),
    "dst_overlap": (str, DstOverlap),
    "start_at": (str, _instant),
    "end_at": (str, _instant),
    "exclude": (dict, _exclude),
    "on_excluded": (str, OnExcluded),
    "max_runs": ((int, float), int),
    "window": (str, parse_window),
    "overlap": (str, Overlap),
    "misfire": (str, Misfire),
    "catchup_window_seconds": ((int, float), float),
}
_WRITE: dict[str, Callable[[Any], object]] = {
    "start_at": format_instant,
    "end_at": format_instant,
    "exclude": _write_exclude,
    "window": str,
}


def read_terms(body: Mapping[str, Any], calendars: Calendars = NO_CALENDARS) -> Terms:
    """Return the terms of a submission. A field of the wrong type is passed over: the contract's fault says it better.

    `calendars` are those of the tenant that it may name. Raises `ScheduleError` that names the field for what means
    nothing.
    """
    if body.keys().isdisjoint(_READ):
        return NO_TERMS
    found = {}
    for name, (kind, read) in _READ.items():
        value = body.get(name)
        if value is None or isinstance(value, bool) or not isinstance(value, kind):
            continue
        try:
            found[name] = read(value)
        except ScheduleError as error:
            raise ScheduleError(error.field if error.field.startswith(name) else name, str(error)) from error
        except ValueError as error:
            raise ScheduleError(name, f"unknown value {str(value)[:20]!r}") from error
    terms = Terms(**found)
    if terms.start_at is not None and terms.end_at is not None and terms.end_at <= terms.start_at:
        raise ScheduleError("end_at", "must be later than start_at")
    return with_calendars(terms, calendars)


def named_calendars(body: object) -> tuple[str, ...]:
    """Return the names of the calendars that a body mentions, whatever else is wrong with it."""
    exclude = body.get("exclude") if isinstance(body, Mapping) else None
    names = exclude.get("calendars") if isinstance(exclude, Mapping) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def with_calendars(terms: Terms, calendars: Calendars) -> Terms:
    """Return terms with copies of the calendars that they name. Raises `ScheduleError` for an unknown name."""
    if terms.exclude is None or not terms.exclude.calendars:
        return terms
    copies = []
    for place, name in enumerate(terms.exclude.calendars):
        if (copy := calendars.get(name)) is None:
            message = f"there is no calendar {name[:64]!r}: PUT /v1/calendars/{{name}} makes one"
            raise ScheduleError(f"exclude/calendars/{place}", message)
        copies.append(copy)
    return replace(terms, exclude=replace(terms.exclude, copies=tuple(copies)))


def write_terms(terms: Terms) -> dict[str, Any]:
    """Return the fields of a submission that has these terms."""
    found = {name: getattr(terms, name) for name in TERM_FIELDS}
    return {name: _WRITE.get(name, _plain)(value) for name, value in found.items() if value is not None}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, StrEnum) else value


def encode(terms: Terms) -> str | None:
    """Return terms as they are stored; None for a job that says nothing."""
    if terms == NO_TERMS:
        return None
    stored = write_terms(terms)
    if terms.exclude is not None and terms.exclude.copies:
        stored[_COPIES] = {
            copy.name: write_exclusion(copy.exclusion) | {"version": copy.version} for copy in terms.exclude.copies
        }
    return json.dumps(stored)


@lru_cache(maxsize=4096)
def decode(stored: str | None) -> Terms:
    """Return stored terms."""
    if stored is None:
        return NO_TERMS
    body = json.loads(stored)
    copies = {
        name: CalendarCopy(name, copy["version"], read_exclusion(copy)) for name, copy in body.get(_COPIES, {}).items()
    }
    return read_terms(body, copies)
