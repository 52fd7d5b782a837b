"""The terms of a schedule: what a job says about its occurrences beside the expression itself.

They are kept as one text, empty for most jobs, so that a claim carries no more than it needs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from countwheel.domain.errors import ScheduleError
from countwheel.domain.policy import CATCHUP_WINDOW, Misfire, Overlap
from countwheel.domain.timestamp import format_instant, parse_oneoff


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
    overlap: Overlap | None = None
    misfire: Misfire | None = None
    catchup_window_seconds: float | None = None

    @property
    def catchup_window(self) -> timedelta:
        """How late an occurrence may be before it is not worth running at all."""
        stated = self.catchup_window_seconds
        return CATCHUP_WINDOW if stated is None else timedelta(seconds=stated)


NO_TERMS = Terms()
TERM_FIELDS = tuple(field.name for field in fields(Terms))
"""The fields of a submission that are terms."""

PLANNED_BY = ("dst_gap", "dst_overlap", "start_at", "end_at")
"""Those that decide which occurrences there are: a change of any of them plans anew."""

RECURRING_ONLY = (*PLANNED_BY, "overlap", "misfire")
"""Those that mean nothing to a one-off job."""


def _instant(text: str) -> datetime:
    return parse_oneoff(text, None)


_READ: dict[str, Callable[[Any], Any]] = {
    "dst_gap": DstGap,
    "dst_overlap": DstOverlap,
    "start_at": _instant,
    "end_at": _instant,
    "overlap": Overlap,
    "misfire": Misfire,
    "catchup_window_seconds": float,
}
_WRITE: dict[str, Callable[[Any], object]] = {"start_at": format_instant, "end_at": format_instant}


def read_terms(body: Mapping[str, Any]) -> Terms:
    """Return the terms of a submission. A field of the wrong type is passed over: the contract's fault says it better.

    Raises `ScheduleError` that names the field for what means nothing.
    """
    found = {}
    for name in TERM_FIELDS:
        value = body.get(name)
        if value is None or isinstance(value, (bool, list, dict)) or isinstance(value, str) is (_READ[name] is float):
            continue
        try:
            found[name] = _READ[name](value)
        except ScheduleError as error:
            raise ScheduleError(name, str(error)) from error
        except ValueError as error:
            raise ScheduleError(name, f"unknown value {str(value)[:20]!r}") from error
    terms = Terms(**found)
    if terms.start_at is not None and terms.end_at is not None and terms.end_at <= terms.start_at:
        raise ScheduleError("end_at", "must be later than start_at")
    return terms


def write_terms(terms: Terms) -> dict[str, Any]:
    """Return the fields of a submission that has these terms."""
    found = {name: getattr(terms, name) for name in TERM_FIELDS}
    return {name: _WRITE.get(name, _plain)(value) for name, value in found.items() if value is not None}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, StrEnum) else value


def encode(terms: Terms) -> str | None:
    """Return terms as they are stored; None for a job that says nothing."""
    return json.dumps(write_terms(terms)) if terms != NO_TERMS else None


@lru_cache(maxsize=4096)
def decode(stored: str | None) -> Terms:
    """Return stored terms."""
    return NO_TERMS if stored is None else read_terms(json.loads(stored))
