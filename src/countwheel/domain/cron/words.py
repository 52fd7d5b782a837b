"""An expression in words, for people, and what in it is probably not meant."""

from collections.abc import Callable
from itertools import product

from countwheel.domain.cron.expression import split_fields
from countwheel.domain.cron.fields import DAY, MONTH, WEEKDAY, Field

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth")
_TIMES_AT_MOST = 6
_SHORTEST_MONTH = 28


def cron_in_words(expression: str) -> str:
    """Return what an expression means. Raises `CronError`."""
    parts = split_fields(expression)
    second, minute, hour = parts.get("second", "0"), parts["minute"], parts["hour"]
    said = [_times(second, minute, hour), _days(parts["day of month"], parts["day of week"])]
    if parts["month"] != "*":
        said.append("in " + _terms(MONTH, parts["month"]))
    if parts.get("year", "*") != "*":
        said.append("in " + _joined([_span(term, "year", str) for term in parts["year"].split(",")]))
    return ", ".join(said)


def doubts(expression: str) -> list[str]:
    """Return what in an expression is right and yet probably not what is meant. Raises `CronError`."""
    parts = split_fields(expression)
    found = []
    if len(parts) > 5:  # noqa: PLR2004 (the five fields of cron)
        found.append(f"the first of {len(parts)} fields is seconds; with five fields the first is minutes")
    second, minute, hour = parts.get("second", "0"), parts["minute"], parts["hour"]
    if minute == "*" and hour[0] != "*":
        found.append(f"minute * fires every minute of the hours named; for once an hour give 0: '0 {hour} …'")
    if second == "*" and (minute[0] != "*" or hour[0] != "*"):
        found.append("second * fires every second of the minutes named; for once a minute give 0")
    day, weekday = parts["day of month"], parts["day of week"]
    if day[0] not in "*?" and weekday[0] not in "*?":
        found.append("day of month and day of week are both given: either is enough, as in every cron")
    for name, length in (("second", 60), ("minute", 60), ("hour", 24)):
        span, _, step = parts.get(name, "").partition("/")
        if span in {"*", "0"} and step.isdigit() and length % int(step):
            found.append(f"{name} {span}/{step} starts anew at 0: the last distance of each round is shorter")
    numbers = [int(term) for term in day.split(",") if term.isdigit()]
    if numbers and min(numbers) > _SHORTEST_MONTH and parts["month"] == "*" and weekday[0] in "*?":
        found.append(f"months without a day {min(numbers)} are left out; for the last day of each give L")
    return found


def spread(expression: str) -> str | None:
    """Return an expression like this one whose minute is the job's own (`H`), or None where it repeats already."""
    parts = split_fields(expression)
    if not parts["minute"].isdigit():
        return None
    return " ".join("H" if name == "minute" else part for name, part in parts.items())


def _times(second: str, minute: str, hour: str) -> str:
    if all(part.replace(",", "").isdigit() for part in (second, minute, hour)):
        times = sorted(product(*(map(int, part.split(",")) for part in (hour, minute, second))))
        if len(times) <= _TIMES_AT_MOST:
            shown = [f"{h:02}:{m:02}" + (f":{s:02}" if second != "0" else "") for h, m, s in times]
            return "at " + _joined(shown)
    said = [] if second == "0" else [_often("second", second)]
    if (second, minute) != ("*", "*"):
        said.append(("of " if said else "") + _often("minute", minute))
    if hour == "*" and minute[0] != "*":
        said.append("of every hour")
    elif hour != "*":
        said.append("of " + _often("hour", hour))
    text = " ".join(said)
    return text if text.startswith(("every", "one")) else f"at {text}"


def _often(unit: str, field: str) -> str:
    return _joined([_span(term, unit, lambda value: f"{unit} {value}") for term in field.split(",")])


def _span(term: str, unit: str, one: Callable[[str], str]) -> str:
    span, _, step = term.partition("/")
    every = f"every {step} {unit}s" if step not in {"", "1"} else f"every {unit}"
    if span == "*":
        return every
    if span[0] in "hH":
        limits = span[2:-1].replace("-", " to ")
        within = f" ({limits})" if limits else ""
        return f"{every}, from one of the job's own on{within}," if step else f"one {unit} of the job's own{within}"
    low, _, high = span.partition("-")
    if high:
        return f"{every} from {low} to {high}"
    return f"{every} from {low} on" if step else one(low)


def _days(day: str, weekday: str) -> str:
    of_month = "" if day in {"*", "?"} else "on " + _terms(DAY, day)
    of_week = "" if weekday in {"*", "?"} else "on " + _terms(WEEKDAY, weekday)
    if not of_month or not of_week:
        return of_month or of_week or "every day"
    both = day[0] in "*?" or weekday[0] in "*?"
    return f"{of_month} {'that is also' if both else 'and also'} {of_week.removeprefix('on ') if both else of_week}"


def _terms(field: Field, text: str) -> str:
    return _joined([_term(field, term) for term in text.split(",")])


def _term(field: Field, term: str) -> str:
    if field.is_mark(term):
        return _mark(field, term.upper())
    span, _, step = term.partition("/")
    unit = "month" if field is MONTH else "day"
    if span[0] in "*?hH":
        return _span(term.replace("?", "*"), unit, str)
    low, _, high = span.partition("-")
    begin, end = _name(field, low), _name(field, high) if high else ""
    if not step or step == "1":
        return f"{begin} to {end}" if end else begin
    return f"every {step} {unit}s from {begin}" + (f" to {end}" if end else " on")


def _mark(field: Field, mark: str) -> str:
    if field is DAY:
        if mark == "L":
            return "the last day of the month"
        if mark == "LW":
            return "the last weekday of the month"
        return f"the weekday nearest to {_name(DAY, mark[:-1])}"
    if mark.endswith("L"):
        return f"the last {_name(WEEKDAY, mark[:-1])} of the month"
    name, _, which = mark.partition("#")
    return f"the {_ORDINALS[int(which)]} {_name(WEEKDAY, name)} of the month"


def _name(field: Field, value: str) -> str:
    number = field.value(value)
    if field is MONTH:
        return _MONTHS[number - 1]
    return _WEEKDAYS[number] if field is WEEKDAY else f"day {number}"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
