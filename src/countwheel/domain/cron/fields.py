"""The fields of a cron expression: what each may say, as a parser reads it and as a pattern describes it.

A field is a list of terms. A term is `*`, a value, a range, one of these with a step, `H` (a value of the job's own),
or one of the marks that only days have. Values are numbers or, where there are any, names.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

FIRST_YEAR, LAST_YEAR = 1970, 2199


class CronError(ValueError):
    """An expression that means nothing: which field, where, and what would be right."""


class BackwardsError(CronError):
    """A range that runs backwards. Where its field begins, only the expression as a whole knows."""

    def __init__(self, field: "Field", term: str, instead: str = "") -> None:
        """`instead` says how to write it."""
        super().__init__(f"bad {field.name} {term!r}: the range runs backwards{instead}")
        self.field = field
        self.term = term
        self.instead = instead


@dataclass(frozen=True)
class Field:
    """A field of an expression: its name, its values, and what is special about it."""

    name: str
    first: int
    last: int
    number: str
    """The numbers it takes, as a pattern."""
    names: tuple[str, ...] = ()
    """Names of its values, the first one for `first`."""
    hash_last: int | None = None
    """The greatest value that `H` stands for, where that is not `last`."""
    marks: str = ""
    """A pattern of the terms that only this field has; `countwheel.domain.cron.days` reads them."""
    hint: str = ""
    """What else it takes, in words."""

    @cached_property
    def pattern(self) -> str:
        """What the field may look like, as a regular expression that every dialect understands."""
        value = "|".join([self.number, *(_any_case(name) for name in self.names)])
        step = "(?:/0*[1-9][0-9]{0,3})?"
        hashed = rf"[hH](?:\((?:{self.number})-(?:{self.number})\))?{step}"
        own = [self.marks, r"\?"] if self.marks else []
        term = "|".join([rf"\*{step}", f"(?:{value})(?:-(?:{value}))?{step}", hashed, *own])
        return f"(?:{term})(?:,(?:{term}))*"

    def matches(self, text: str) -> bool:
        """Whether a text is a field of this kind, as far as a pattern can say."""
        return self._matcher.fullmatch(text) is not None

    def is_mark(self, term: str) -> bool:
        """Whether a term of a field that matches is one of its marks."""
        return bool(self.marks) and self._mark_matcher.fullmatch(term) is not None

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.ASCII)

    @cached_property
    def _mark_matcher(self) -> re.Pattern[str]:
        return re.compile(self.marks, re.ASCII)

    def value(self, text: str) -> int:
        """Return the number that a value stands for."""
        return int(text) if text.isdigit() else self.first + self.names.index(text.lower())

    def takes(self) -> str:
        """Say in words what the field takes."""
        named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"{self.first}-{self.last}{named}, with lists, ranges and steps, like 1,2 or 1-5 or */2{self.hint}"


def _any_case(name: str) -> str:
    """Return a pattern of a name in any mix of cases: no flag for that exists in all dialects of a contract."""
    return "".join(f"[{letter}{letter.upper()}]" for letter in name)


_WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY = f"(?:0?[0-7]|{'|'.join(map(_any_case, _WEEKDAY_NAMES))})"
_DAY = "0?[1-9]|[12][0-9]|3[01]"

SECOND = Field("second", 0, 59, "[0-5]?[0-9]")
MINUTE = Field("minute", 0, 59, "[0-5]?[0-9]")
HOUR = Field("hour", 0, 23, "[01]?[0-9]|2[0-3]")
DAY = Field(
    *("day of month", 1, 31, _DAY),
    hash_last=28,  # every month has it
    marks=f"[lL][wW]?|(?:{_DAY})[wW]",
    hint=", or L (the last), 15W (the weekday nearest to the 15th), LW (the last weekday)",
)
MONTH = Field(
    *("month", 1, 12, "0?[1-9]|1[0-2]"),
    names=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
WEEKDAY = Field(
    *("day of week", 0, 7, "0?[0-7]"),
    names=_WEEKDAY_NAMES,
    hash_last=6,
    marks=f"{_WEEKDAY}[lL]|{_WEEKDAY}#[1-5]",
    hint=", or fri#2 (the second Friday), 5L (the last Friday)",
)
YEAR = Field("year", FIRST_YEAR, LAST_YEAR, "19[7-9][0-9]|2[01][0-9][0-9]")

_TERM = re.compile(
    r"(?P<span>\*|\?|[hH](?:\((?P<hash_low>\d+)-(?P<hash_high>\d+)\))?|(?P<low>\w+?)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?",
    re.ASCII,
)


def parse_values(field: Field, text: str, job_id: UUID) -> int:
    """Return the values that a checked field names, as a bit mask. Raises `CronError` for a range that runs backwards.

    Terms that only days have are left out: `countwheel.domain.cron.days` reads them.
    """
    mask = 0
    for term in text.split(","):
        match = None if field.is_mark(term) else _TERM.fullmatch(term)
        for value in _values(field, match, job_id) if match is not None else ():
            mask |= 1 << value
    return mask


def _values(field: Field, match: re.Match[str], job_id: UUID) -> Iterator[int]:
    step = int(match["step"] or 1)
    span = match["span"]
    if span in {"*", "?"}:
        return iter(range(field.first, field.last + 1, step))
    if span[0] in "hH":
        return _hashed(field, match, step, job_id)
    low = field.value(match["low"])
    if match["high"] is None:
        return iter(range(low, field.last + 1, step) if match["step"] else (low,))
    high = field.value(match["high"])
    if high < low:
        raise BackwardsError(field, match[0], f"; write it as two, like {low}-{field.last},{field.first}-{high}")
    return iter(range(low, high + 1, step))


def _hashed(field: Field, match: re.Match[str], step: int, job_id: UUID) -> Iterator[int]:
    """Yield what `H` stands for: one value of the job's own or, with a step, every so many from one of its own on."""
    last = field.last if field.hash_last is None else field.hash_last
    low, high = int(match["hash_low"] or field.first), int(match["hash_high"] or last)
    if high < low:
        raise BackwardsError(field, match[0])
    digest = hashlib.sha256(job_id.bytes + field.name.encode()).digest()
    own = int.from_bytes(digest[:8])
    if match["step"] is None:
        return iter((low + own % (high - low + 1),))
    return iter(range(low + own % min(step, high - low + 1), high + 1, step))
