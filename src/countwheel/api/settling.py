"""Waiting for a node to do what was asked of it, by looking at the database: there is no other way between nodes."""

from collections.abc import Awaitable, Callable

from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem

_LOOK_EVERY_SECONDS = 0.025


async def settle(api: ApiParts, is_settled: Callable[[], Awaitable[bool]]) -> None:
    """Return when `is_settled` says so.

    A holder that is alive answers within its polling interval, one that is dead loses the run with its lease. Raises
    the 503 problem if neither has come true in time; asking again goes on where this stopped.
    """
    give_up_at = api.clock.monotonic() + api.settings.cancel_wait_seconds
    while not await is_settled():
        if api.clock.monotonic() >= give_up_at:
            raise Problem(
                503,
                "not-settled-yet",
                detail="the node that holds the run has not answered yet: send the same request again",
                headers={"Retry-After": "1"},
            )
        await api.clock.sleep(_LOOK_EVERY_SECONDS)
