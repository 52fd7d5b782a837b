"""How far a listing looks for what it is asked for, before it answers with what it has found and where to go on.

No index finds what every filter asks for, and each that there is costs every job or run something. So a listing looks
through its rows in their order, in steps, as long as its time lasts (decision 0028).
"""

from collections.abc import Callable

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
        if now >= self._until:
            return None
        took = now - self._step_began
        return max(1, min(_MOST_GROWTH, int((self._until - now) / took))) if took > 0 else _MOST_GROWTH
