"""Due runs that wait for a free slot, taken in turns: tenant by tenant, and of each tenant target by target.

How many slots one may have depends on how many are left, as in the shared buffer of a switch (Choudhury and Hahne's
dynamic thresholds). A tenant may have seven eighths of what the others leave. Of those a target may take another one
while it has fewer than are left of them: alone it has half, and beside m targets that hang there is one part in m + 1
for those that are well. And whoever has none is given one, as long as there is any reserve.
"""

from collections import deque
from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from countwheel.engine.held import Held, Phase

_Place = TypeVar("_Place", UUID, str)

RESERVED_SHARE = 8
"""One part in so many is kept free of any single tenant: of the calls at once, and of the runs held at once."""

_SLOW_SECONDS = 0.5
"""Calls that take longer than this on average are slow, and a queue that waits longer for such calls is crowded."""


def reserved(total: int) -> int:
    """Return how much of a total no single tenant may take."""
    return total // RESERVED_SHARE


def beginning_after(last: _Place | None, places: Iterable[_Place]) -> list[_Place]:
    """Return places in order, beginning with the first one after `last`: whoever was served last comes last."""
    return sorted(places, key=lambda place: (last is not None and place <= last, place))


class _Target:
    """The queue of a target, and what is under way to it."""

    __slots__ = ("ended", "name", "tenant", "under_way", "waiting")

    def __init__(self, tenant: "_Tenant", name: str) -> None:
        self.tenant = tenant
        self.name = name
        self.waiting: deque[Held] = deque()
        self.under_way = 0
        self.ended = 0
        """Calls that came back since it was last asked who is crowded."""


class _Tenant:
    """What is under way for a tenant, and which of its targets have a queue: the one whose turn is next first."""

    __slots__ = ("targets", "tenant_id", "under_way", "waiting")

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.targets: dict[str, _Target] = {}
        self.waiting: dict[_Target, None] = {}
        self.under_way = 0


class Turns:
    """A queue for each target of each tenant, served in turns, each with a limit to what it has under way."""

    def __init__(self, concurrency: int) -> None:
        """`concurrency` is how many calls may be under way at once, over all tenants."""
        self._concurrency = concurrency
        self._tenants: dict[int, _Tenant] = {}
        """By the number that a tenant's id is: it is looked up for each run, and a UUID is hashed in Python."""
        self._waiting: dict[_Tenant, None] = {}
        """Those with a queue, the one whose turn is next first."""
        self._under_way: dict[Held, _Target] = {}

    def under_way(self) -> list[Held]:
        """Return what is under way now."""
        return list(self._under_way)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def put(self, held: Held) -> None:
        """Let a due run wait for its turn."""
        target = self._target(held.run.tenant_id, held.target)
        target.waiting.append(held)
        target.tenant.waiting.setdefault(target)
        self._waiting.setdefault(target.tenant)

    def take(self) -> Held | None:
        """Return the next run that may start, and count it as under way until `done`; None where none may."""
        if len(self._under_way) >= self._concurrency:
            return None
        for tenant in self._waiting:
            left = self._left_to(tenant.under_way)
            for target in tenant.waiting:
                if target.under_way < left or (target.under_way == 0 and self._has_reserve()):
                    return self._take_of(target)
        return None

    def _left_to(self, mine: int) -> int:
        """Return how many more calls of a tenant with so many under way may be, as long as the others keep theirs."""
        left_by_others = self._concurrency - (len(self._under_way) - mine)
        return max(1, left_by_others - reserved(left_by_others)) - mine

    def _has_reserve(self) -> bool:
        """Whether there is one slot more than are kept for tenants that have none."""
        return self._concurrency - len(self._under_way) > max(1, reserved(self._concurrency) // 2)

    def _take_of(self, target: _Target) -> Held:
        tenant = target.tenant
        held = target.waiting.popleft()
        # To the end, if more waits: the others come first.
        del tenant.waiting[target]
        if target.waiting:
            tenant.waiting[target] = None
        del self._waiting[tenant]
        if tenant.waiting:
            self._waiting[tenant] = None
        target.under_way += 1
        tenant.under_way += 1
        self._under_way[held] = target
        return held

    def done(self, held: Held) -> None:
        """Free the place of a run that `take` gave."""
        target = self._under_way.pop(held)
        target.under_way -= 1
        target.ended += 1
        target.tenant.under_way -= 1

    def share_of(self, tenant_id: UUID, target: str) -> int:
        """Return how many calls of a target may be under way at once, as long as the others have what they have."""
        known = self._tenants.get(tenant_id.int)
        of_tenant = 0 if known is None else known.under_way
        mine = 0 if known is None or target not in known.targets else known.targets[target].under_way
        share = (self._left_to(of_tenant) + mine + 1) // 2
        return max(share, 1 if mine == 0 and self._has_reserve() else 0)

    def find_crowded(self, now: float, seconds: float) -> list[tuple[UUID, str]]:
        """Return the targets whose calls are slow, and whose queues have waited long for them.

        `now` is monotonic, `seconds` is how long ago this was asked before. By Little's law calls take on average as
        long as it takes that as many end as are under way. A queue that waits because this node is busy, and not for
        slow calls, is none of its target's doing.
        """
        crowded = []
        for tenant in list(self._waiting):
            for target in list(tenant.waiting):
                while target.waiting and target.waiting[0].phase is not Phase.READY:
                    target.waiting.popleft()  # cancelled, or set aside
                is_slow = target.under_way * seconds > _SLOW_SECONDS * target.ended
                if target.waiting and is_slow and now - target.waiting[0].ready_since > _SLOW_SECONDS:
                    crowded.append((tenant.tenant_id, target.name))
        self._forget()
        return crowded

    def clear(self) -> None:
        """Forget everything that waits."""
        for tenant in self._waiting:
            for target in tenant.waiting:
                target.waiting.clear()
        self._forget()

    def _target(self, tenant_id: UUID, name: str) -> _Target:
        tenant = self._tenants.get(tenant_id.int)
        if tenant is None:
            tenant = self._tenants[tenant_id.int] = _Tenant(tenant_id)
        target = tenant.targets.get(name)
        if target is None:
            target = tenant.targets[name] = _Target(tenant, name)
        return target

    def _forget(self) -> None:
        """Count ends anew, and forget whatever has no queue and nothing under way."""
        for tenant in list(self._tenants.values()):
            for target in list(tenant.targets.values()):
                target.ended = 0
                if not target.waiting:
                    tenant.waiting.pop(target, None)
                    if not target.under_way:
                        del tenant.targets[target.name]
            if not tenant.waiting:
                self._waiting.pop(tenant, None)
            if not tenant.targets:
                del self._tenants[tenant.tenant_id.int]
