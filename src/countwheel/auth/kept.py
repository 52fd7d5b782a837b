"""What was looked up is kept for some seconds: a request costs no look-up, and what was taken away is gone soon."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from countwheel.clock import Clock

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Found(Generic[_Value]):
    value: _Value
    until: float


class Kept(Generic[_Key, _Value]):
    """Values by key, each for `seconds` at the most; of a key that many ask for at once one look-up is made."""

    def __init__(
        self,
        look_up: Callable[[_Key], Awaitable[_Value]],
        clock: Clock,
        *,
        seconds: float,
        most: int = 10_000,
        keeps_none: bool = True,
    ) -> None:
        """`most` is how many are kept; those that were asked for longest ago go first.

        Without `keeps_none` whoever makes keys up pushes out none that are there.
        """
        self._look_up = look_up
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._keeps_none = keeps_none
        self._found: OrderedDict[_Key, _Found[_Value]] = OrderedDict()
        self._asked: dict[_Key, asyncio.Task[_Value]] = {}

    def known(self, key: _Key) -> _Value | None:
        """Return a value that is kept, without waiting; None where `get` would look it up."""
        found = self._found.get(key)
        return None if found is None or self._clock.monotonic() >= found.until else found.value

    async def get(self, key: _Key) -> _Value:
        """Return a value that was true `seconds` ago or later. Raises what the look-up raises."""
        found = self._found.get(key)
        if found is not None and self._clock.monotonic() < found.until:
            self._found.move_to_end(key)
            return found.value
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._ask(key))
            asked.add_done_callback(lambda task: self._forget(key, task))
        # Shielded: whoever asked first may go away, and the others still want to know.
        return await asyncio.shield(asked)

    def _forget(self, key: _Key, task: asyncio.Task[_Value]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone away: then nobody else takes it

    async def _ask(self, key: _Key) -> _Value:
        # From before the look-up: what it reads may be taken away while its answer is on the way.
        until = self._clock.monotonic() + self._seconds
        value = await self._look_up(key)
        if value is None and not self._keeps_none:
            self._found.pop(key, None)
            return value
        self._found[key] = _Found(value, until)
        self._found.move_to_end(key)
        if len(self._found) > self._most:
            self._found.popitem(last=False)
        return value
