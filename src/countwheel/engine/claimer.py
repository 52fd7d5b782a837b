"""Takes due runs for this node a little ahead of their time, and keeps every chain going.

What becomes of what it takes is planned in the same transaction: see `countwheel.engine.taking`.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from countwheel.domain import ids
from countwheel.engine.context import Context
from countwheel.engine.floor import Floor
from countwheel.engine.held import Held
from countwheel.engine.pieces import pieces
from countwheel.engine.refused import put_off_refused
from countwheel.engine.taking import NOTHING, Taken, obey_plans
from countwheel.engine.targets import target_of
from countwheel.engine.timer import Timer
from countwheel.engine.turns import beginning_after, reserved
from countwheel.store import refused, runs
from countwheel.store.database import Connection, RefusedRowError
from countwheel.store.runs import ClaimedRun, ClaimSize

_SMALL: ClaimSize = 8
_LARGE: ClaimSize = 64
_FAIR_EVERY_SECONDS = 0.2
_AT_ONCE = 2
"""Claims under way at once, as long as more is due."""
_GATHERING_SHARE = 0.2
"""In a stream what comes into the look-ahead gathers for so much of it: it is claimed ten times a second, not forty."""


class _Take(Protocol):
    """A way to claim."""

    async def __call__(
        self, connection: Connection, /, *, node_id: str, look_ahead_seconds: float
    ) -> list[ClaimedRun]: ...


class Claimer:
    """Claims within the look-ahead, as long as there is room.

    Earliest first, whosever it is. As long as more is due than is claimed, a second way is gone beside it: a few runs
    of each tenant that holds little here, in room that is kept for that. A flood of one tenant delays no other.
    """

    def __init__(self, context: Context, timer: Timer, floor: Floor) -> None:
        self._context = context
        self._floor = floor
        self._timer = timer
        self._more_is_due = True
        self._claimed_at = float("-inf")
        self._fair_again_at = float("-inf")
        self._last_served: UUID | None = None
        self._stopped = False

    async def stop(self) -> None:
        """Claim no more; returns when a claim that is under way has ended, so that none is left in the dark."""
        self._stopped = True
        async with self._context.claiming:
            pass

    async def run_once(self) -> float:
        """Claim one batch, if anything is due and there is room. Returns seconds to wait."""
        async with self._context.claiming:
            return await self._claim_some()

    async def _claim_some(self) -> float:
        settings = self._context.settings
        if self._stopped or not self._context.node.has_lease():
            return settings.poll_every_seconds / 5
        if self._more_is_due and self._context.clock.monotonic() >= self._fair_again_at:
            await self._floor.look()
            await self._claim_fairly()
        room = settings.max_held - reserved(settings.max_held) - len(self._context.held)
        if room < _SMALL * ids.BUCKETS:
            self._more_is_due = True
            return settings.poll_every_seconds / 5
        if not self._more_is_due and not await self._is_anything_due():
            return self._context.settings.poll_every_seconds
        size = _LARGE if room >= _LARGE * ids.BUCKETS else _SMALL
        # A flood is claimed two batches at a time: one is read here while PostgreSQL works on the other.
        at_once = _AT_ONCE if self._more_is_due and room >= _AT_ONCE * size * ids.BUCKETS else 1
        taken = await _all_of(*(self._claim_batch(size) for _ in range(at_once)))
        # A full bucket may hide more, and so may a chain that is behind; otherwise the next look is soon enough.
        self._more_is_due = any(each.fullest >= size or each.is_behind for each in taken)
        if any(each.fullest for each in taken):
            self._claimed_at = self._context.clock.monotonic()
        return 0.0 if self._more_is_due else self._context.settings.poll_every_seconds

    async def _claim_batch(self, size: ClaimSize) -> Taken:
        taken = await self._claim(partial(runs.claim, size=size, since=self._floor.since))
        await self._take_in(taken)
        return taken

    async def _is_anything_due(self) -> bool:
        next_due = await self._floor.look()
        if next_due is None:
            return False
        now, look_ahead = self._context.clock.monotonic(), self._context.settings.look_ahead_seconds
        gathering = look_ahead * _GATHERING_SHARE
        # A claim a moment ago: this is a stream. What comes after a pause (a crowd, it may be) is claimed at once.
        horizon = look_ahead - gathering if now - self._claimed_at < gathering else look_ahead
        return next_due <= self._context.database_time.at(now) + timedelta(seconds=horizon)

    async def _claim_fairly(self) -> None:
        """Claim a little for each tenant that waits and holds little here."""
        settings, held = self._context.settings, self._context.held
        self._fair_again_at = self._context.clock.monotonic() + _FAIR_EVERY_SECONDS
        async with self._context.database.connection() as connection:
            waiting = await runs.tenants_waiting(
                connection, look_ahead_seconds=settings.look_ahead_seconds, since=self._floor.since
            )
        if len(waiting) == 1:  # one tenant alone: nobody to be fair to
            return
        places = (settings.max_held - len(held)) // runs.RUNS_A_TENANT
        many = reserved(settings.max_held) // 4
        crowded = {tenant for tenant, count in Counter(each.run.tenant_id for each in held).items() if count >= many}
        chosen = beginning_after(self._last_served, [each for each in waiting if each not in crowded])[:places]
        if not chosen:
            return
        self._last_served = chosen[-1]
        await self._take_in(
            await self._claim(partial(runs.claim_for_tenants, tenant_ids=chosen, since=self._floor.since), chosen)
        )

    async def _claim(self, take: _Take, tenant_ids: Sequence[UUID] | None = None) -> Taken:
        """Claim and obey the plans in one transaction."""
        node_id = self._context.node.node_id
        look_ahead = self._context.settings.look_ahead_seconds
        try:
            async with self._context.database.transaction() as connection:
                claimed = await take(connection, node_id=node_id, look_ahead_seconds=look_ahead)
                return await obey_plans(connection, claimed, self._context.targets.keep_back, node_id=node_id)
        except RefusedRowError:
            async with self._context.database.connection() as connection:
                suspects = await refused.suspects(
                    connection, look_ahead_seconds=look_ahead, since=self._floor.since, tenant_ids=tenant_ids
                )
            if not await put_off_refused(self._context, suspects):
                raise
            return NOTHING

    async def _take_in(self, taken: Taken) -> None:
        async for piece in pieces(taken.to_send):
            for run in piece:
                due = self._context.database_time.monotonic_of(run.due_at)
                held = Held(run, taken.claimed_by, due, target_of(run), arms_next=run.run_id.int in taken.arming)
                self._context.held.add(held)
                self._timer.hold(held)


async def _all_of(*claims: Coroutine[None, None, Taken]) -> list[Taken]:
    """Return what came of all, when each has ended: one that fails leaves none of the others in the dark."""
    results = await asyncio.gather(*claims, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Taken)]
