"""Places: IANA time zones, and the instants at which their clocks are changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

_NO_ZONES = frozenset({"localtime", "Factory", "posixrules"})
_SAMPLE = timedelta(days=3)
"""No zone changes its offset twice within this and ends where it was."""
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A clock is changed at `at` (UTC): forward, and wall times are left out, or back, and some come twice."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def repeated(self) -> timedelta:
        """How much wall time comes twice; negative: how much is left out."""
        return self.before - self.after


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """Return the IANA zones that are accepted: those of the tzdata package, whatever the machine has."""
    names = (resources.files("tzdata") / "zones").read_text(encoding="utf-8").split()
    return frozenset(names) - _NO_ZONES


def release() -> str:
    """Return the release of the IANA time zones that this process has, like 2026a. Releases sort."""
    return str(tzdata.IANA_VERSION)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return a zone by its name."""
    return ZoneInfo(name)


def offset_at(name: str, instant: datetime) -> timedelta:
    """Return how far the clocks of a zone are ahead of UTC."""
    offset = instant.astimezone(zone(name)).utcoffset()
    return timedelta(0) if offset is None else offset


def changes(name: str, after: datetime, until: datetime) -> Iterator[Change]:
    """Yield the changes of a zone's clocks in (after, until], in order."""
    for year in range(after.year, until.year + 1):
        for change in _changes_of(name, year):
            if after < change.at <= until:
                yield change


def first_instant(wall: datetime, place: ZoneInfo) -> datetime:
    """Return the UTC instant of a naive wall-clock time: the first pass in a fold, the end of the gap in a gap."""
    instant = wall.replace(tzinfo=place, fold=0).astimezone(UTC)
    if instant.astimezone(place).replace(tzinfo=None) == wall:
        return instant
    # In a gap. The offset from before it (fold=0) leads past the gap, the one from after it (fold=1) before it.
    low = wall.replace(tzinfo=place, fold=1).astimezone(UTC)
    return next(changes(place.key, low, instant)).at


@lru_cache(maxsize=8192)
def _changes_of(name: str, year: int) -> tuple[Change, ...]:
    """Return the changes within a year (UTC), by looking every few days."""
    found: list[Change] = []
    low, last = datetime(year, 1, 1, tzinfo=UTC) - _SECOND, datetime(year + 1, 1, 1, tzinfo=UTC) - _SECOND
    before = offset_at(name, low)
    while low < last:
        high = min(low + _SAMPLE, last)
        if offset_at(name, high) != before:
            high = _first_other(name, low, high, before)
            found.append(Change(high, before, offset_at(name, high)))
            before = found[-1].after
        low = high
    return tuple(found)


def _first_other(name: str, low: datetime, high: datetime, offset: timedelta) -> datetime:
    """Return the first second in (low, high] whose offset is not `offset`, by bisection."""
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        low, high = (middle, high) if offset_at(name, middle) == offset else (low, middle)
    return high
