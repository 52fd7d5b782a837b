"""Which lane is served next: tenants take turns, and of each tenant its lanes. Pure.

To serve a lane is a transaction, and a tenant may have a thousand of them: whoever has one waits for one of each other
tenant's, not for all.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from countwheel.store.targets import Lane

_Place = TypeVar("_Place", UUID, str)


class LaneTurns:
    """Remembers who was served last, so that a round which ends early goes on where it has ended."""

    def __init__(self) -> None:
        self._last_tenant: UUID | None = None
        self._last_lane: dict[UUID, str] = {}

    def order(self, lanes: Iterable[Lane]) -> Iterator[Lane]:
        """Yield lanes in the order in which they are to be served; each that is taken counts as served."""
        of_tenant = {
            tenant_id: {lane.name: lane for lane in group}
            for tenant_id, group in groupby(sorted(lanes, key=_place), key=lambda lane: lane.tenant_id)
        }
        self._last_lane = {tenant: name for tenant, name in self._last_lane.items() if tenant in of_tenant}
        queues = {
            tenant_id: _after(self._last_lane.get(tenant_id), of_tenant[tenant_id])
            for tenant_id in _after(self._last_tenant, of_tenant)
        }
        while queues:
            for tenant_id, names in list(queues.items()):
                name = next(names, None)
                if name is None:
                    del queues[tenant_id]
                    continue
                self._last_tenant, self._last_lane[tenant_id] = tenant_id, name
                yield of_tenant[tenant_id][name]


def _place(lane: Lane) -> tuple[UUID, str]:
    return lane.tenant_id, lane.name


def _after(last: _Place | None, places: Iterable[_Place]) -> Iterator[_Place]:
    """Yield places (in order) beginning with the first one after `last`, and come round to it at the end."""
    ordered = list(places)
    later = [place for place in ordered if last is None or place > last]
    return iter(later + ordered[: len(ordered) - len(later)])
