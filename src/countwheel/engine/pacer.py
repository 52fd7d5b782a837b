"""Takes runs from the lanes as fast as their targets are to be called, and tells everybody how targets are.

A lane is served by every node. Where its target is restricted, a node decides with the target's row locked, so that
what it gives out is nobody else's; where it is not (any more), a node takes what it has room for. So whatever becomes
of a limit, nothing is stuck in a lane.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from countwheel.domain import breaker, pace
from countwheel.domain.pace import Pace, TargetState
from countwheel.engine.context import Context
from countwheel.engine.dispatcher import Dispatcher
from countwheel.engine.held import Held, Phase
from countwheel.engine.lanes import LaneTurns
from countwheel.engine.refused import put_off_refused
from countwheel.engine.taking import NOTHING, Taken, obey_plans
from countwheel.engine.targets import Finding, Key, Opening, Probed, TooMuch, busy_by_target, set_aside, target_of
from countwheel.engine.timer import Timer
from countwheel.store import refused, targets
from countwheel.store.database import Connection, RefusedRowError
from countwheel.store.runs import ClaimedRun, HeldRun
from countwheel.store.targets import SIZES, Lane, SetAsideRun

_log = structlog.get_logger(__name__)

_LOOK_AHEAD_SECONDS = pace.HORIZON.total_seconds()
_SOON_SECONDS = 0.05
"""Without a rate a run is taken so short before its time: it counts as under way from then on."""
_ROUND_SECONDS = 0.25
"""A round lasts so long, or a lane longer. Then it is seen which have become due: another tenant's, it may be."""
_FORGET_EVERY_SECONDS = 30.0
_WAITING_SHARE = 4
"""One part in so many of what may be held waits for the slots of one target, at the most."""
_LANES_SHARE = 3
"""Thousands of lanes take their time to be found: three times as long is not spent on that."""


@dataclass(frozen=True, slots=True)
class _Room:
    """How many more runs of a target this node can take: to be sent at once, and to wait for their slots."""

    to_send: int
    to_wait: int


class Pacer:
    """Serves the lanes."""

    def __init__(self, context: Context, timer: Timer, dispatcher: Dispatcher) -> None:
        self._context = context
        self._targets = context.targets
        self._timer = timer
        self._dispatcher = dispatcher
        self._looked_at = float("-inf")
        self._forgot_at = float("-inf")
        self._is_busy = False
        self._turns = LaneTurns()
        self._counted: frozenset[Key] = frozenset()
        self._stopped = False

    async def stop(self) -> None:
        """Take no more; returns when what is under way has ended, as `Claimer.stop` does."""
        self._stopped = True
        async with self._context.claiming:
            pass

    async def run_once(self) -> float:
        """Look at the targets, if it is time, and serve the lanes for a while. Returns seconds to wait."""
        settings, clock = self._context.settings, self._context.clock
        if self._stopped or not self._context.node.has_lease():
            return settings.poll_every_seconds
        if self._looked_at + settings.pace_every_seconds <= clock.monotonic():
            await self._look()
        elif not self._is_busy:
            return max(0.0, self._looked_at + settings.pace_every_seconds - clock.monotonic())
        async with self._context.database.connection() as connection:
            looked = await targets.lanes(connection)
        await self._serve(looked.found)
        # What the database took, not what we waited for it: a node that was frozen meanwhile has nothing to spare.
        return max(settings.poll_every_seconds, _LANES_SHARE * looked.took_seconds)

    # What is known of targets:

    async def _look(self) -> None:
        """Tell what was found out, and learn what all know."""
        since, self._looked_at = self._looked_at, self._context.clock.monotonic()
        findings = self._targets.take_findings()
        try:
            while findings:
                await self._tell(findings[0])
                del findings[0]
        finally:
            self._targets.give_back(findings)
        async with self._context.database.connection() as connection:
            known = await targets.find_all(connection)
            if self._looked_at - self._forgot_at > _FORGET_EVERY_SECONDS:
                self._forgot_at = self._looked_at
                self._targets.forget_idle()
                if well := [(each.tenant_id, each.name) for each in known if _is_over(each.pace, each.now)]:
                    await targets.delete_spent(connection, well)
        self._targets.refresh(known)
        self._targets.crowd(self._dispatcher.find_crowded(self._looked_at - since))
        if self._targets.is_any_restricted():
            self._dispatcher.set_aside_unsent()
        await self._count_what_is_under_way()

    async def _tell(self, finding: Finding) -> None:
        """Write down what a node's calls have met, for everybody."""
        tenant_id, name = finding.key
        async with self._context.database.transaction() as connection:
            known = await targets.lock_or_make(connection, tenant_id, name)
            changed = _changed(known.pace, finding, now=known.now, jitter=self._context.chance.uniform(0.0, 1.0))
            if changed == known.pace:
                return
            await targets.write_found(connection, tenant_id, name, changed)
        before, after = known.pace.state(known.now), changed.state(known.now)
        if before is not after:
            _log.warning("target changed", target=name, tenant_id=str(tenant_id), was=before, state=after)

    async def _count_what_is_under_way(self) -> None:
        """Let the calls under way to a target whose concurrency is limited since they were claimed count as its own."""
        limited = frozenset(self._targets.with_limited_concurrency())
        fresh = limited - self._counted
        under_way = self._context.held.in_phase(Phase.SENDING) if fresh else []
        batch = [
            (HeldRun(held.run.job_id, held.run.run_id, held.run.fence), held.target)
            for held in under_way
            if not held.paced and (held.run.tenant_id, held.target) in fresh
        ]
        if batch:
            async with self._context.database.connection() as connection:
                await targets.put_lane(connection, batch, node_id=self._context.node.node_id)
        self._counted = limited

    # The lanes:

    async def _serve(self, lanes: list[Lane]) -> None:
        """Take from each lane what may go now, as many as there is time for; the next round goes on with the others."""
        soon = self._targets.now() + timedelta(seconds=_LOOK_AHEAD_SECONDS)
        due = [lane for lane in lanes if lane.due_at <= soon]
        self._is_busy = False
        if due:
            until = self._context.clock.monotonic() + _ROUND_SECONDS
            waiting = busy_by_target(self._context.held.in_phase(Phase.WAITING))
            busy = busy_by_target(self._context.held.in_phase(Phase.READY, Phase.SENDING))
            for lane in self._turns.order(due):
                room = self._room((lane.tenant_id, lane.name), waiting, busy)
                await self._serve_lane(lane, room)
                if self._context.clock.monotonic() >= until:
                    break
        if crowded := self._targets.crowded:
            due_still = {(lane.tenant_id, lane.name) for lane in due}
            under_way = busy_by_target(self._context.held.in_phase(Phase.READY, Phase.SENDING))
            free = {key for key in crowded - due_still if under_way.get(key, 0) < self._dispatcher.share_of(key)}
            self._targets.uncrowd(free)

    def _room(self, key: Key, waiting: Mapping[Key, int], busy: Mapping[Key, int]) -> _Room:
        to_hold = self._context.settings.max_held - len(self._context.held)
        to_send = self._dispatcher.share_of(key) - busy.get(key, 0)
        if to_send <= 0:
            return _Room(0, 0)
        to_wait = self._context.settings.max_held // _WAITING_SHARE - waiting.get(key, 0)
        return _Room(min(to_send - waiting.get(key, 0), to_hold), min(to_wait, to_hold))

    async def _serve_lane(self, lane: Lane, room: _Room) -> None:
        key = (lane.tenant_id, lane.name)
        known = self._targets.find(key)
        now = self._targets.now()
        if known is not None and known.is_stopped(now) and not known.may_probe(now):
            return  # the next look at the targets is soon enough
        self._is_busy = True
        count = room.to_send if known is None or known.rate_at(now) is None else room.to_wait
        if count <= 0 or (known is not None and pace.may_go(known, now=now, in_flight=0, room=count) == 0):
            return
        async with self._context.claiming:
            if self._stopped or not self._context.node.has_lease():
                return
            try:
                if known is None:
                    await self._take_freely(lane, count)
                else:
                    await self._take_paced(lane, count)
            except RefusedRowError:
                async with self._context.database.connection() as connection:
                    suspects = await refused.suspects_in_lane(connection, lane, look_ahead_seconds=_LOOK_AHEAD_SECONDS)
                if not await put_off_refused(self._context, suspects):
                    raise

    async def _take_freely(self, lane: Lane, count: int) -> None:
        """Take from the lane of a target that nothing restricts, as much as there is room for."""
        async with self._context.database.transaction() as connection:
            taken = await self._take(connection, lane, count, _SOON_SECONDS)
        for run in taken.to_send:
            self._hold(run, taken.claimed_by)

    async def _take_paced(self, lane: Lane, room: int) -> None:
        """Take what the target's pace lets go now. Its row is locked meanwhile."""
        async with self._context.database.transaction() as connection:
            target = await targets.lock(connection, lane.tenant_id, lane.name)
            if target is None:  # a peer is deciding, or the row is gone: the next look tells
                return
            now, begins = target.now, target.now + pace.LEAD
            in_flight = 0
            if target.pace.max_concurrency is not None:
                in_flight = await targets.count_in_flight(connection, lane.tenant_id, lane.name)
            count = pace.may_go(target.pace, now=now, in_flight=in_flight, room=room)
            if count == 0:
                self._targets.note((lane.tenant_id, lane.name), target.pace)
                return
            has_rate = target.pace.rate_at(now) is not None
            probe = target.pace.is_stopped(now)
            taken = await self._take(connection, lane, count, _LOOK_AHEAD_SECONDS if has_rate else _SOON_SECONDS)
            decided = target.pace
            moments: list[datetime] = []
            if probe and taken.to_send:
                decided = replace(decided, breaker=breaker.probing(decided.breaker, now))
            elif has_rate and taken.to_send:
                moments, following = pace.slots(decided, [run.due_at for run in taken.to_send], now=begins)
                decided = replace(decided, next_slot_at=following)
            if decided != target.pace:
                await targets.write_found(connection, lane.tenant_id, lane.name, decided)
        self._targets.note((lane.tenant_id, lane.name), decided)
        late_after = pace.late_after(decided, now).total_seconds()
        for place, run in enumerate(taken.to_send):
            slot = moments[place] if moments else None
            self._hold(run, taken.claimed_by, slot, late_after, probe=probe)

    async def _take(self, connection: Connection, lane: Lane, count: int, look_ahead_seconds: float) -> Taken:
        if count <= 0:
            return NOTHING
        size = next(size for size in SIZES if size <= count)
        node_id = self._context.node.node_id
        claimed = await targets.claim_from_lane(
            connection, lane, node_id=node_id, look_ahead_seconds=look_ahead_seconds, size=size
        )

        def elsewhere(run: ClaimedRun) -> SetAsideRun | None:
            """What its job calls now is another target: the common queue knows what to do with it."""
            return None if target_of(run) == lane.name else set_aside(run, None)

        return await obey_plans(connection, claimed, elsewhere, node_id=node_id)

    def _hold(
        self,
        run: ClaimedRun,
        claimed_by: str,
        slot: datetime | None = None,
        late_after: float = 0.0,
        *,
        probe: bool = False,
    ) -> None:
        at = self._context.database_time.monotonic_of
        held = Held(run, claimed_by, at(max(run.due_at, slot or run.due_at)), target_of(run), paced=True, probe=probe)
        if slot is not None:
            held.slot, held.late_after_seconds = held.due_monotonic, late_after
        self._context.held.add(held)
        self._timer.hold(held)


def _changed(known: Pace, finding: Finding, *, now: datetime, jitter: float) -> Pace:
    """Return what a finding makes of what is known of a target."""
    match finding:
        case Opening(_, reason) if not known.breaker_is_off:
            return replace(known, breaker=breaker.opened(known.breaker, now, reason=reason, jitter=jitter))
        case Probed(_, well, reason):
            after = breaker.probed(known.breaker, now, well=well, reason=reason, jitter=jitter)
            closes = known.breaker.open_until is not None and after.open_until is None
            return replace(known, breaker=after, slowed=pace.restarting(now) if closes else known.slowed)
        case TooMuch(_, seen_rate, retry_after):
            return replace(known, slowed=pace.slow_down(known, now=now, seen_rate=seen_rate, retry_after=retry_after))
    return known


def _is_over(known: Pace, now: datetime) -> bool:
    return known.state(now) is TargetState.OK and known.breaker.is_forgotten(now)
