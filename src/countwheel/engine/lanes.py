"""Which lane is served next: tenants take turns, and of each tenant its lanes. Pure.

To serve a lane is a transaction, and a tenant may have a thousand of them: whoever has one waits for one of each other
tenant's, not for all.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

from countwheel.engine.turns import beginning_after
from countwheel.store.targets import Lane


class LaneTurns:
    """Remembers who was served last, so that a round which ends early goes on where it has ended."""

    def __init__(self) -> None:
        self._last_tenant: UUID | None = None
        self._last_lane: dict[UUID, str] = {}

    def order(self, lanes: Iterable[Lane]) -> Iterator[Lane]:
        """Yield lanes in the order in which they are to be served; each that is taken counts as served."""
        of_tenant: dict[UUID, dict[str, Lane]] = {}
        for lane in lanes:
            of_tenant.setdefault(lane.tenant_id, {})[lane.name] = lane
        self._last_lane = {tenant: name for tenant, name in self._last_lane.items() if tenant in of_tenant}
        queues = {
            tenant_id: iter(beginning_after(self._last_lane.get(tenant_id), of_tenant[tenant_id]))
            for tenant_id in beginning_after(self._last_tenant, of_tenant)
        }
        while queues:
            for tenant_id, names in list(queues.items()):
                name = next(names, None)
                if name is None:
                    del queues[tenant_id]
                    continue
                self._last_tenant, self._last_lane[tenant_id] = tenant_id, name
                yield of_tenant[tenant_id][name]
