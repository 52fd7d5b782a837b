"""Due runs that wait for a free slot, taken tenant by tenant: a flood of one is no queue for another."""

from collections import Counter, deque
from uuid import UUID

from countwheel.engine.held import Held

RESERVED_SHARE = 8
"""One part in so many is kept free of any single tenant: of the calls at once, and of the runs held at once."""


def reserved(total: int) -> int:
    """Return how much of a total no single tenant may take."""
    return total // RESERVED_SHARE


class Turns:
    """A queue for each tenant, served in turns, each tenant with a limit to what it has under way."""

    def __init__(self, concurrency: int) -> None:
        """`concurrency` is how many calls may be under way at once, over all tenants."""
        self._concurrency = concurrency
        self._limit = concurrency - reserved(concurrency)
        self._queues: dict[UUID, deque[Held]] = {}
        self._under_way: Counter[UUID] = Counter()
        self._total = 0

    def put(self, held: Held) -> None:
        """Let a due run wait for its turn."""
        self._queues.setdefault(held.run.tenant_id, deque()).append(held)

    def take(self) -> Held | None:
        """Return the next run that may start, and count it as under way until `done`; None where none may."""
        if self._total >= self._concurrency:
            return None
        for tenant_id, queue in self._queues.items():
            if self._under_way[tenant_id] < self._limit:
                held = queue.popleft()
                del self._queues[tenant_id]
                if queue:
                    self._queues[tenant_id] = queue  # at the end: the others come first
                self._under_way[tenant_id] += 1
                self._total += 1
                return held
        return None

    def done(self, held: Held) -> None:
        """Free the place of a run that `take` gave."""
        self._total -= 1
        tenant_id = held.run.tenant_id
        self._under_way[tenant_id] -= 1
        if not self._under_way[tenant_id]:
            del self._under_way[tenant_id]

    def clear(self) -> None:
        """Forget everything that waits."""
        self._queues.clear()
