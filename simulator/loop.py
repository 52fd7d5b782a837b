"""An event loop that does not wait: when nobody has anything to do, its clock moves on to the next timer.

Every callback belongs to an actor (a node, a client), by the context that it was made in. What belongs to a dead actor
is dropped; what belongs to a frozen one waits until it thaws. That is kill -9 and SIGSTOP at every await.
"""

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any


class Actor:
    """Somebody whose code runs here. `frozen_until` is on the loop's clock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_until = 0.0


ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)


_MOMENT_SECONDS = 1e-6
_APART_SECONDS = 1e-11
"""So far are timers apart that were set for the same time: a heap has no order for those, and a history has one."""
LONGEST_SECONDS = 300.0
"""No history lasts so long: whoever gets here waits for what will not come."""


class Stuck(Exception):  # noqa: N818 (a state, and the end of a history)
    """Everybody waits for something that no timer will bring."""


class _NoWaiting(selectors.DefaultSelector):
    """Lets time pass instead of waiting for it."""

    def __init__(self, longest_seconds: float) -> None:
        super().__init__()
        self.passed = 0.0
        self._longest_seconds = longest_seconds

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return nothing, at once; `timeout` has passed all the same, and at least a moment: code takes time, too."""
        if timeout is None or self.passed > self._longest_seconds:
            raise Stuck
        self.passed += max(timeout, _MOMENT_SECONDS)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time, with actors."""

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._clock = _NoWaiting(longest_seconds)
        self._timers = 0
        super().__init__(self._clock)

    def time(self) -> float:
        """Return virtual seconds."""
        # An hour ahead of nothing: a monotonic clock that begins at 0 would hide a confusion with "never".
        return self._clock.passed + 3600.0

    def call_soon(  # type: ignore[override] # any callback
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback in the next round, if its actor lives."""
        context = context or copy_context()
        return super().call_soon(self._guarded, context.get(ACTOR), callback, args, context, context=context)

    def call_at(  # type: ignore[override] # any callback
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a time, if its actor lives then."""
        context = context or copy_context()
        return self._set(when, context.get(ACTOR), callback, args, context)

    def _set(
        self,
        when: float,
        actor: Actor | None,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
    ) -> asyncio.TimerHandle:
        self._timers += 1
        when += self._timers * _APART_SECONDS
        return super().call_at(when, self._guarded, actor, callback, args, context, context=context)

    def _guarded(
        self, actor: Actor | None, callback: Callable[..., Any], args: tuple[Any, ...], context: Context
    ) -> None:
        if actor is not None:
            if not actor.alive:
                return
            if actor.frozen_until > self.time():
                self._set(actor.frozen_until, actor, callback, args, context)
                return
        callback(*args)


def as_actor(actor: Actor) -> Context:
    """Return a context whose callbacks belong to an actor."""
    context = copy_context()
    context.run(ACTOR.set, actor)
    return context
