"""`countwheel cron`: what an expression means and when it fires, without a server."""

import sys
from datetime import datetime

from countwheel.cli.audit import BadOptionError, read_instant
from countwheel.clock import SystemClock
from countwheel.domain import ids
from countwheel.domain.errors import ScheduleError
from countwheel.domain.preview import Preview, preview
from countwheel.domain.schedule import Recurring, parse_recurring
from countwheel.domain.zones import zone, zones

_MOST = 1_000
_NO_ENTROPY = bytes(10)


def print_meaning(expression: str, timezone: str | None) -> int:
    """Print what an expression means. Returns the exit code: 2 for one that means nothing."""
    now = SystemClock().now()
    try:
        found = preview(_parse(expression, timezone, now), now, 1)
    except ScheduleError as error:
        return _refuse(str(error))
    print(found.meaning)  # noqa: T201 (the command's output)
    _print_warnings(found)
    return 0


def print_next(
    expression: str, timezone: str | None, *, count: int, start: str | None, display: str | None = None
) -> int:
    """Print the next occurrences, one a line: by the clock of the place, of the caller (`display`; None: the machine),
    and in UTC. Returns the exit code.
    """
    if display is not None and display not in zones():
        return _refuse(f"--display-timezone {display!r} is not an IANA time zone: give one like Europe/Berlin")
    if not 1 <= count <= _MOST:
        return _refuse(f"--count {count}: give 1 to {_MOST}")
    try:
        after = read_instant("--from", start) if start is not None else SystemClock().now()
        schedule = _parse(expression, timezone, after)
    except (ScheduleError, BadOptionError) as error:
        return _refuse(str(error))
    found = preview(schedule, after, count)
    for fire in found.fires:
        there = fire.instant.astimezone(zone(schedule.timezone))
        here = fire.instant.astimezone(zone(display) if display is not None else None)
        note = f"  {fire.note}" if fire.note is not None else ""
        print(f"{_clock(there)}  {_clock(here)}  {_utc(fire.instant)}{note}")  # noqa: T201 (the command's output)
    for change in found.clock_changes:
        print(f"clock change {_utc(change.at)}: {change.effect}", file=sys.stderr)  # noqa: T201 (as above)
    _print_warnings(found)
    return 0


def _parse(expression: str, timezone: str | None, created_at: datetime) -> Recurring:
    return parse_recurring(expression, timezone, ids.job_id(created_at, _NO_ENTROPY))


def _clock(local: datetime) -> str:
    return f"{local:%a} {local.isoformat(sep=' ')}"


def _utc(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat() + "Z"


def _print_warnings(found: Preview) -> None:
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201 (beside the output, not in it)


def _refuse(why: str) -> int:
    print(f"countwheel: {why}", file=sys.stderr)  # noqa: T201 (the terminal is where this belongs)
    return 2
