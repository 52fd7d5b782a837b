"""How far a listing looks for what it is asked for, before it answers with what it has found and where to go on.

No index finds what every filter asks for, and each that there is costs every job or run something. So a listing looks
through its rows in their order, in steps, as long as its time lasts (decision 0028).
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

_Found = TypeVar("_Found")
_Place = TypeVar("_Place")

WALK_SECONDS = 0.006
"""A page is to be answered within 20 ms, on the wire and back."""
_MOST_GROWTH = 4


class Walk:
    """The time of one page, and how long its steps may be."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until = monotonic() + WALK_SECONDS
        self._step_began = 0.0

    def begin_step(self) -> None:
        """Say that a step begins."""
        self._step_began = self._monotonic()

    def growth(self) -> int | None:
        """Return how many times as long as the last step the next one may be; None: there is no time for one."""
        now = self._monotonic()
        left, took = self._until - now, now - self._step_began
        if left <= 0 or left < took:
            return None
        return min(_MOST_GROWTH, int(left / took)) if took > 0 else _MOST_GROWTH


async def look_through(
    walk: Walk,
    begin: _Place,
    step: Callable[[_Place, int, int], Awaitable[tuple[list[_Found], _Place | None]]],
    *,
    rows: int,
    limit: int,
) -> tuple[list[_Found], _Place | None]:
    """Look through rows in steps until `limit` are found, there are no more, or time is up.

    `step(place, rows, left)` looks at `rows` of them, the first time at as many as is said here, and returns what it
    has found, `left` at the most, and where it stopped; None there if it came to the end. Returned is what all have
    found, and where to go on, if time was up.
    """
    found, place = list[_Found](), begin
    while True:
        walk.begin_step()
        more, stopped_at = await step(place, rows, limit - len(found))
        found += more
        if len(found) >= limit or stopped_at is None:
            return found, None
        if (growth := walk.growth()) is None:
            return found, stopped_at
        place, rows = stopped_at, rows * growth
