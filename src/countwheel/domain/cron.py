"""Cron, as Debian runs it, with an optional field of seconds in front: what it means, and when it fires next.

The evaluator is cronsim, which is used on *naive* local time only. Zones are ours: cronsim itself returns instants in
the past when it starts inside the second pass of a fold (facts.md, traps in time). Two rules, as Debian has them
(criterion C4):

- A fixed-time expression (neither minute nor hour begins with `*`) names wall-clock moments. Each fires once: one that
  falls into a gap right after the gap, one that comes twice in a fold in the first pass.
- An expression whose minute or hour begins with `*` follows elapsed time: it fires whenever the wall clock shows a
  match, in both passes of a fold, and never inside a gap.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MAX_EXPRESSION_CHARACTERS = 256

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_RANGES = ("0-59", "0-59", "0-23", "1-31", "1-12 or jan-dec", "0-7 or sun-sat")


def _any_case(names: str) -> str:
    """Return a pattern of names in any mix of cases: no flag for that exists in all dialects of a contract."""
    return "|".join("".join(f"[{letter}{letter.upper()}]" for letter in name) for name in names.split())


_MONTHS = _any_case("jan feb mar apr may jun jul aug sep oct nov dec")
_DAYS = _any_case("sun mon tue wed thu fri sat")
_STEP = "(?:/0*[1-9][0-9]?)"


def _field(value: str, *others: str) -> str:
    ranged = f"(?:{value})-(?:{value}){_STEP}?"
    term = "|".join([rf"\*{_STEP}?", ranged, f"(?:{value})", *others])
    return f"(?:{term})(?:,(?:{term}))*"


_FIELD_PATTERNS = (
    _field("[0-5]?[0-9]"),
    _field("[0-5]?[0-9]"),
    _field("[01]?[0-9]|2[0-3]"),
    _field("0?[1-9]|[12][0-9]|3[01]", "[lL][wW]?"),
    _field(f"0?[1-9]|1[0-2]|{_MONTHS}"),
    _field(f"0?[0-7]|{_DAYS}", "0?[0-7][lL]", f"(?:0?[0-7]|{_DAYS})#[1-5]"),
)

_FEBRUARY = "(?:0?2|[fF][eE][bB])"
_SHORT_MONTH = "(?:0?[2469]|11|[fF][eE][bB]|[aA][pP][rR]|[jJ][uU][nN]|[sS][eE][pP]|[nN][oO][vV])"
_NEVER = (
    rf"(?:(?:[^ ]+ )?[^ ]+ [^ ]+ (?:3[01](?:-3[01])?(?:,3[01])*) {_FEBRUARY}(?:,{_FEBRUARY})*"
    rf"|(?:[^ ]+ )?[^ ]+ [^ ]+ 31(?:,31)* {_SHORT_MONTH}(?:,{_SHORT_MONTH})*) \*"
)

CRON_PATTERN = f"^(?:{'|'.join(NICKNAMES)}|(?!{_NEVER})(?:(?:{_FIELD_PATTERNS[0]}) )?{' '.join(_FIELD_PATTERNS[1:])})$"
"""What the contract says an expression looks like. Left out, because a pattern cannot say it: ranges that run
backwards (`5-1`), and rare spellings of days that never come (`0 0 30 2-2 *`)."""

_FIELD_MATCHERS = tuple(re.compile(pattern, re.ASCII) for pattern in _FIELD_PATTERNS)


class CronError(ValueError):
    """An expression that means nothing: which field, and what would be right."""


def normalize(expression: str) -> str:
    """Return the five or six fields that an expression stands for, checked. Raises `CronError`."""
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise CronError(f"longer than {MAX_EXPRESSION_CHARACTERS} characters")
    if expression.startswith("@"):
        return _nickname(expression)
    parts = expression.split(" ")
    if len(parts) not in {len(_FIELDS) - 1, len(_FIELDS)} or not expression.isascii():
        raise CronError(
            "not five fields with one space between: give minute, hour, day of month, month and day of week, "
            "like '*/5 * * * *' (a sixth one in front is seconds)"
        )
    first = len(_FIELDS) - len(parts)
    for name, values, matcher, part in zip(
        _FIELDS[first:], _RANGES[first:], _FIELD_MATCHERS[first:], parts, strict=True
    ):
        if not matcher.fullmatch(part):
            raise CronError(
                f"bad {name} {part!r}: give values {values}, with lists, ranges and steps, like 1,2 or 1-5 or */2"
            )
    return _evaluable(expression)


@lru_cache(maxsize=4096)
def normalize_cached(expression: str) -> str:
    """Return `normalize(expression)`, remembered. Raises `CronError`."""
    return normalize(expression)


def _nickname(expression: str) -> str:
    if expression in NICKNAMES:
        return NICKNAMES[expression]
    if expression == "@reboot":
        raise CronError("@reboot means nothing to a scheduler that has no boot: give five fields")
    raise CronError(f"unknown nickname: give one of {', '.join(NICKNAMES)}")


def _evaluable(expression: str) -> str:
    try:
        first = next(CronSim(expression, datetime(2000, 1, 1)), None)  # noqa: DTZ001 (naive on purpose: wall time)
    except CronSimError as error:
        raise CronError(f"{str(error).lower()}: a range runs backwards, or a day that no named month has") from error
    if first is None:
        raise CronError("never fires: no such day exists in the named months")
    return expression


@lru_cache(maxsize=1024)
def follows_elapsed_time(fields: str) -> bool:
    """Whether a (normalized) expression fires by what the wall clock shows, instead of naming moments."""
    *_, minute, hour, _, _, _ = fields.split(" ")
    return minute.startswith("*") or hour.startswith("*")


def wall_times(fields: str, after: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    """Yield the naive wall-clock times of a (normalized) expression after `after` (naive), or before it in reverse.

    Ends where nothing matches for some fifty years.
    """
    return iter(CronSim(fields, after, reverse=reverse))


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a naive wall-clock time: the first pass in a fold, the end of the gap in a gap."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # In a gap. The offset from before it (fold=0) leads past the gap, the one from after it (fold=1) before it.
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
