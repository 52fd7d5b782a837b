"""Which instants a cron expression names, by looking at every second: slow, plain, and nobody else's code.

Understood is what the harness uses: six fields (seconds first) or five, in UTC; numbers, `*`, lists, ranges, steps.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def instants(expression: str, after_ms: int, until_ms: int) -> Iterator[int]:
    """Yield the instants in (after, until], as milliseconds since 1970."""
    parts = expression.split()
    fields = [_values(part, bounds) for part, bounds in zip(["0", *parts][-6:], _BOUNDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = fields
    any_day, any_weekday = parts[-3] == "*", parts[-1] == "*"
    for second in range(after_ms // 1000 + 1, until_ms // 1000 + 1):  # after_ms itself is not in it
        at = datetime.fromtimestamp(second, UTC)
        if at.second not in seconds or at.minute not in minutes or at.hour not in hours or at.month not in months:
            continue
        day = at.day in days
        weekday = at.isoweekday() in weekdays or at.isoweekday() % 7 in weekdays
        if (day or weekday) if not any_day and not any_weekday else (day and weekday):
            yield second * 1000


def _values(part: str, bounds: tuple[int, int]) -> frozenset[int]:
    found: set[int] = set()
    for term in part.split(","):
        span, _, step = term.partition("/")
        low, high = bounds if span == "*" else _range(span)
        found |= set(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _range(span: str) -> tuple[int, int]:
    low, _, high = span.partition("-")
    return int(low), int(high or low)
