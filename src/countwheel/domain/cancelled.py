"""Which occurrences of a job are cancelled, as far as somebody has read that. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class UnreadError(LookupError):
    """Nobody has read whether `instant` is cancelled: read on from there, and ask again."""

    def __init__(self, instant: datetime) -> None:
        """`instant` is the occurrence that was asked about."""
        super().__init__(f"it is not known whether {instant} is cancelled")
        self.instant = instant


class _Stretch(NamedTuple):
    since: datetime
    until: datetime | None
    instants: frozenset[datetime]


class Cancelled:
    """The cancelled occurrences of one job, by stretches of time that were read; `in` asks about an instant.

    There may be very many, and few of them are ever asked about. Raises `UnreadError` for an instant in no stretch.
    """

    def __init__(self) -> None:
        """Know of nothing yet."""
        self._stretches: list[_Stretch] = []

    def learn(self, since: datetime, until: datetime | None, instants: Iterable[datetime]) -> None:
        """Take a stretch, both of its ends included, in which these are cancelled. Without `until` it has no end."""
        self._stretches.append(_Stretch(since, until, frozenset(instants)))

    def __contains__(self, instant: object) -> bool:
        """Whether the occurrence at an instant is cancelled."""
        if not isinstance(instant, datetime):
            return False
        for since, until, instants in self._stretches:
            if since <= instant and (until is None or instant <= until):
                return instant in instants
        raise UnreadError(instant)
