"""The window of a schedule: each occurrence is due somewhere in it, each job always at its own place (criterion P3).

Thousands of jobs at midnight become a steady stream, and still each of them comes as regularly as a clock.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from countwheel.domain.errors import ScheduleError

_LENGTH_PATTERN = (
    "(?:[1-9][0-9]{0,3}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2}|86400)s"
    "|(?:[1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m|(?:[1-9]|1[0-9]|2[0-4])h"
)
WINDOW_LENGTH_PATTERN = f"^(?:{_LENGTH_PATTERN})$"
"""What a window of a fixed length looks like: up to a day."""

WINDOW_PATTERN = f"^(?:{_LENGTH_PATTERN}|[1-9][0-9]?%)$"
"""What a window looks like: exactly what is accepted."""

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LONGEST = timedelta(days=1)
_WHOLE = 1 << 64
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A length of time, or a share of the time until the next occurrence in percent. Exactly one is given."""

    text: str
    length: timedelta | None
    percent: int | None

    def __str__(self) -> str:
        """Return it as it was submitted."""
        return self.text

    def due_at(self, job_id: UUID, instant: datetime, following: datetime | None) -> datetime:
        """Return when an occurrence is due: never before it, always before the one that follows."""
        width = _LONGEST if self.length is None else self.length
        if following is not None:
            gap = following - instant
            width = min(width, gap if self.percent is None else gap * self.percent / 100)
        elif self.length is None:
            return instant
        digest = hashlib.sha256(b"window " + job_id.bytes).digest()
        share = int.from_bytes(digest[:8]) / _WHOLE
        return instant + (width * share) // _MILLISECOND * _MILLISECOND


def parse_window(text: str) -> Window:
    """Return what `90s`, `15m`, `2h` or `10%` means. Raises `ScheduleError`."""
    if re.fullmatch(WINDOW_PATTERN, text, re.ASCII) is None:
        message = f"not a window: {text[:20]!r}; give a time like 15m, 24h at the most, or a share like 10%, below 100%"
        raise ScheduleError("window", message)
    number, unit = int(text[:-1]), text[-1]
    if unit == "%":
        return Window(text, None, number)
    return Window(text, timedelta(seconds=number * _SECONDS[unit]), None)
