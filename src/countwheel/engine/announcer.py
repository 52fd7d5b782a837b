"""Writes down which calls are under way: those that take a while, and beforehand those that must not be made twice.

A short call of an ordinary job never costs this write. A run whose job holds the unknown (`on_unknown: hold`) is
RUNNING in the database *before* its first byte leaves: if its node dies, whoever finds the row knows whether it may
have been sent.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from countwheel.engine.context import Context
from countwheel.engine.held import Held, Phase
from countwheel.store import runs
from countwheel.store.runs import RunningRun


class Announcer:
    """Shows held runs as RUNNING, once for each."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._gathering: list[Held] | None = None
        self._marking: asyncio.Task[set[UUID]]
        """What marks those that gather."""
        self._writing = asyncio.Lock()

    async def run_once(self) -> float:
        """Mark the calls that have become old enough. Returns seconds to wait."""
        old_enough = self._context.clock.monotonic() - self._context.settings.announce_after_seconds
        fresh = [
            held
            for held in self._context.held.in_phase(Phase.SENDING)
            if not held.announced and 0.0 < held.sending_since <= old_enough
        ]
        if fresh:
            await self._mark(fresh)
        return self._context.settings.announce_after_seconds

    async def announce(self, held: Held) -> bool:
        """Write down that a call is about to leave, and return whether it may: its fence still matched.

        What arrives while a write is under way goes together in the next one, which is nobody's own: a member that is
        cancelled meanwhile takes nothing from the others.
        """
        if self._gathering is None:
            self._gathering = []
            self._marking = asyncio.create_task(self._mark_together(self._gathering))
        self._gathering.append(held)
        return held.run.run_id in await asyncio.shield(self._marking)

    async def _mark_together(self, members: Sequence[Held]) -> set[UUID]:
        async with self._writing:
            self._gathering = None
            return await self._mark(members)

    async def _mark(self, batch: Sequence[Held]) -> set[UUID]:
        now = self._context.clock.monotonic()
        rows = [
            RunningRun(
                held.run.job_id,
                held.run.run_id,
                held.run.fence,
                max(self._context.database_time.at(held.sending_since or now), held.run.due_at),
            )
            for held in batch
        ]
        async with self._context.database.connection() as connection:
            marked = await runs.mark_running(connection, rows)
        for held in batch:
            held.announced = True
        return marked
