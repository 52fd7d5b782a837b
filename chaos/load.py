"""Loads of one-off jobs, one after another or at once, with time to create them before the first is due."""

from collections.abc import Sequence
from time import time

from checker.history import Schedule

_LEAD_SECONDS = 12.0
_CREATES_A_SECOND = 300
"""What clients on this machine are sure to create while nodes run beside them."""


def steady(rate: float, seconds: float) -> list[Schedule]:
    """Return `rate` jobs a second over `seconds`."""
    count = int(rate * seconds)
    first = _first_due(count)
    return [Schedule(at_ms=int((first + number / rate) * 1000)) for number in range(count)]


def at_once(jobs: int) -> list[Schedule]:
    """Return jobs that are due at one instant."""
    return [Schedule(at_ms=int(_first_due(jobs) * 1000))] * jobs


def span_of(schedules: Sequence[Schedule]) -> tuple[float, float]:
    """Return when the first and when the last is due, in seconds since 1970."""
    due = [schedule.at_ms or 0 for schedule in schedules]
    return min(due) / 1000, max(due) / 1000


def _first_due(jobs: int) -> float:
    """Return a time by which so many jobs are created, in seconds since 1970."""
    return time() + _LEAD_SECONDS + jobs / _CREATES_A_SECOND
