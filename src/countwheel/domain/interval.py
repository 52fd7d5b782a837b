"""`@every 90s`: a fixed distance in real time, whatever clocks show."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

EVERY_PATTERN = "@every (?=[^ ]*[1-9])(?=[0-9])(?:[0-9]{1,3}d)?(?:[0-9]{1,4}h)?(?:[0-9]{1,6}m)?(?:[0-9]{1,8}s)?"
"""What an interval looks like: exactly what is accepted."""

_PREFIX = "@every "
_PARTS = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)


class IntervalError(ValueError):
    """An interval that means nothing, and what would be right."""


@dataclass(frozen=True, slots=True)
class Every:
    """A distance between occurrences; `parse_every` makes it."""

    distance: timedelta

    def next_after(self, instant: datetime, anchor: datetime) -> datetime:
        """Return the first instant later than `instant` that is a whole number of distances from `anchor`."""
        return anchor + ((instant - anchor) // self.distance + 1) * self.distance


def is_every(expression: str) -> bool:
    """Whether an expression means to be an interval."""
    return expression.startswith(_PREFIX)


def parse_every(expression: str) -> Every:
    """Return what `@every 1d2h3m4s` means. Raises `IntervalError`."""
    match = _PARTS.fullmatch(expression.removeprefix(_PREFIX))
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match is not None else (0, 0, 0, 0)
    distance = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not distance:
        raise IntervalError("not an interval: give one of 1s or more, like @every 90s or @every 1h30m")
    return Every(distance)
