"""Due runs that wait for a free slot, taken in turns: tenant by tenant, and of each tenant target by target.

How many slots one may have depends on how many are left, as in the shared buffer of a switch (Choudhury and Hahne's
dynamic thresholds). A tenant may have seven eighths of what the others leave. Of those a target may take another one
while it has fewer than are left of them: alone it has half, and beside m targets that hang there is one part in m + 1
for those that are well. And whoever has none is given one, as long as there is any reserve.
"""

from collections import Counter, deque
from uuid import UUID

from countwheel.engine.held import Held, Phase

RESERVED_SHARE = 8
"""One part in so many is kept free of any single tenant: of the calls at once, and of the runs held at once."""

_SLOW_SECONDS = 0.5
"""Calls that take longer than this on average are slow, and a queue that waits longer for such calls is crowded."""


def reserved(total: int) -> int:
    """Return how much of a total no single tenant may take."""
    return total // RESERVED_SHARE


class Turns:
    """A queue for each target of each tenant, served in turns, each with a limit to what it has under way."""

    def __init__(self, concurrency: int) -> None:
        """`concurrency` is how many calls may be under way at once, over all tenants."""
        self._concurrency = concurrency
        self._queues: dict[UUID, dict[str, deque[Held]]] = {}
        self._of_tenant: Counter[UUID] = Counter()
        self._of_target: Counter[tuple[UUID, str]] = Counter()
        self._ended: Counter[tuple[UUID, str]] = Counter()
        self._total = 0

    def put(self, held: Held) -> None:
        """Let a due run wait for its turn."""
        self._queues.setdefault(held.run.tenant_id, {}).setdefault(held.target, deque()).append(held)

    def take(self) -> Held | None:
        """Return the next run that may start, and count it as under way until `done`; None where none may."""
        if self._total >= self._concurrency:
            return None
        for tenant_id, queues in self._queues.items():
            left = self._left_to(tenant_id)
            for target in queues:
                under_way = self._of_target[(tenant_id, target)]
                if under_way < left or (under_way == 0 and self._has_reserve()):
                    return self._take_of(tenant_id, target)
        return None

    def _left_to(self, tenant_id: UUID) -> int:
        """Return how many more calls of a tenant may be under way, as long as the others have what they have."""
        mine = self._of_tenant[tenant_id]
        left_by_others = self._concurrency - (self._total - mine)
        return max(1, left_by_others - reserved(left_by_others)) - mine

    def _has_reserve(self) -> bool:
        """Whether there is one slot more than are kept for tenants that have none."""
        return self._concurrency - self._total > max(1, reserved(self._concurrency) // 2)

    def _take_of(self, tenant_id: UUID, target: str) -> Held:
        queues = self._queues.pop(tenant_id)
        queue = queues.pop(target)
        held = queue.popleft()
        if queue:
            queues[target] = queue  # at the end: the others come first
        if queues:
            self._queues[tenant_id] = queues
        self._of_tenant[tenant_id] += 1
        self._of_target[(tenant_id, target)] += 1
        self._total += 1
        return held

    def done(self, held: Held) -> None:
        """Free the place of a run that `take` gave."""
        tenant_id, key = held.run.tenant_id, (held.run.tenant_id, held.target)
        self._total -= 1
        self._of_tenant[tenant_id] -= 1
        if not self._of_tenant[tenant_id]:
            del self._of_tenant[tenant_id]
        self._of_target[key] -= 1
        if not self._of_target[key]:
            del self._of_target[key]
        self._ended[key] += 1

    def share_of(self, tenant_id: UUID, target: str) -> int:
        """Return how many calls of a target may be under way at once, as long as the others have what they have."""
        mine = self._of_target[(tenant_id, target)]
        share = (self._left_to(tenant_id) + mine + 1) // 2
        return max(share, 1 if mine == 0 and self._has_reserve() else 0)

    def find_crowded(self, now: float, seconds: float) -> list[tuple[UUID, str]]:
        """Return the targets whose calls are slow, and whose queues have waited long for them.

        `now` is monotonic, `seconds` is how long ago this was asked before. By Little's law calls take on average as
        long as it takes that as many end as are under way. A queue that waits because this node is busy, and not for
        slow calls, is none of its target's doing.
        """
        crowded = []
        for tenant_id, queues in self._queues.items():
            for target, queue in queues.items():
                while queue and queue[0].phase is not Phase.READY:
                    queue.popleft()  # cancelled, or set aside
                key = (tenant_id, target)
                is_slow = self._of_target[key] * seconds > _SLOW_SECONDS * self._ended[key]
                if queue and is_slow and now - queue[0].ready_since > _SLOW_SECONDS:
                    crowded.append(key)
        self._ended.clear()
        self._drop_empty()
        return crowded

    def _drop_empty(self) -> None:
        for tenant_id, queues in list(self._queues.items()):
            for target in [target for target, queue in queues.items() if not queue]:
                del queues[target]
            if not queues:
                del self._queues[tenant_id]

    def clear(self) -> None:
        """Forget everything that waits."""
        self._queues.clear()
