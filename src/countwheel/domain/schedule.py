"""When a recurring job fires: cron in a zone, as strictly increasing UTC instants."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from countwheel.domain import cron

_NO_ZONES = frozenset({"localtime", "Factory", "posixrules"})
_LOOK_BACK = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    *(timedelta(days=days) for days in (0.1, 2, 40, 400, 3_700, 18_000)),
)
"""How far back the latest occurrence is looked for. Each span is tried only if the shorter ones were empty, so that
little is ever walked through."""
_OFFSET_SAMPLE = timedelta(days=3)
"""No zone changes its offset twice within this."""
_SECOND = timedelta(seconds=1)


class ScheduleError(ValueError):
    """A schedule that means nothing. `field` is the name of the field that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Recurring:
    """A checked cron expression in a zone; `parse_recurring` makes it."""

    expression: str
    timezone: str = "UTC"

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence later than `instant` (UTC, whole seconds), or None if there is none."""
        fields, zone = cron.normalize_cached(self.expression), _zone(self.timezone)
        if cron.follows_elapsed_time(fields):
            return _next_elapsed(fields, zone, instant)
        # `first_instant` never decreases as wall time grows, so the first that is later is the next.
        for wall in cron.wall_times(fields, instant.astimezone(zone).replace(tzinfo=None)):
            candidate = cron.first_instant(wall, zone)
            if candidate > instant:
                return candidate
        return None

    def is_occurrence(self, instant: datetime) -> bool:
        """Whether the schedule fires at exactly this instant."""
        return self.next_after(instant - timedelta(microseconds=1)) == instant

    def latest_until(self, instant: datetime) -> datetime | None:
        """Return the last occurrence that is not later than `instant`, or None."""
        for span in _LOOK_BACK:
            step = self.next_after(instant - span)
            latest = None
            while step is not None and step <= instant:
                latest, step = step, self.next_after(step)
            if latest is not None:
                return latest
        return None

    def count_between(self, after: datetime, until: datetime, limit: int) -> int:
        """Return how many occurrences lie in (after, until]; counting stops at `limit`."""
        count, step = 0, self.next_after(after)
        while step is not None and step <= until and count < limit:
            count, step = count + 1, self.next_after(step)
        return count


@lru_cache(maxsize=4096)
def parse_recurring(expression: str, timezone: str | None) -> Recurring:
    """Return the schedule of a cron expression (five fields or a nickname) in a zone, by default UTC.

    Raises `ScheduleError` that names the field, the fault and what would be right (criteria C1 and C2).
    """
    zone = "UTC" if timezone is None else timezone
    if zone not in zones():
        raise ScheduleError("timezone", f"{zone[:64]!r} is not an IANA time zone: give one like Europe/Berlin")
    try:
        cron.normalize_cached(expression)
    except cron.CronError as error:
        raise ScheduleError("schedule_recurring", str(error)) from error
    return Recurring(expression, zone)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """Return the IANA zones that are accepted: those of the tzdata package, whatever the machine has."""
    names = (resources.files("tzdata") / "zones").read_text(encoding="utf-8").split()
    return frozenset(names) - _NO_ZONES


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _next_elapsed(fields: str, zone: ZoneInfo, instant: datetime) -> datetime | None:
    """Return the next instant at which the wall clock shows a match, span of equal offset by span."""
    start, offset = instant, _offset(zone, instant)
    while True:
        wall = next(cron.wall_times(fields, (start + offset).replace(tzinfo=None)), None)
        if wall is None:
            return None
        candidate = wall.replace(tzinfo=UTC) - offset
        change = _first_change(zone, start, offset, candidate)
        if change is None:
            return candidate
        # The clock is changed before the match comes: look again in the new offset, from the change itself on.
        start, offset = change - _SECOND, _offset(zone, change)


def _first_change(zone: ZoneInfo, start: datetime, offset: timedelta, until: datetime) -> datetime | None:
    """Return the first instant in (start, until] that has another offset than `offset`, or None."""
    low = start + _SECOND  # `start` itself may still have the offset before a change
    while low < until or low == start + _SECOND:
        high = min(low + _OFFSET_SAMPLE, max(until, low))
        if _offset(zone, low) != offset:
            return low
        if _offset(zone, high) != offset:
            while high - low > _SECOND:
                middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            return high if high <= until else None
        if high >= until:
            return None
        low = high
    return None


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    return timedelta(0) if offset is None else offset
