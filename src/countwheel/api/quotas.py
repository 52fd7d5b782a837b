"""What a tenant may use: jobs, payloads, creates and wanted runs a second. Over it is a 429 (criterion E5).

Rates are shared out: each of N nodes that answer the API lets an N-th through. Jobs and payloads are counted once in a
while, for tenants with such a quota alone, and what is created here meanwhile is added: nodes together may let through
what they create within that while.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from countwheel.api.problems import Problem, used_up
from countwheel.auth.kept import Kept
from countwheel.clock import Clock
from countwheel.domain.quota import Bucket
from countwheel.store import nodes, tenants
from countwheel.store.database import Database
from countwheel.store.tenants import Quotas, Usage

_KEPT_SECONDS = 3.0
_COUNTED_SECONDS = 5.0
_AGAIN_SECONDS = 60
"""What a count of jobs or bytes allows changes when something is deleted: nobody knows when."""
_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Counted:
    usage: Usage
    jobs_since: int = 0
    bytes_since: int = 0


@dataclass(frozen=True, slots=True)
class PayloadRoom:
    """The room for a tenant's payloads. Taking of it looks nothing up: it may be done with a connection in hand."""

    most: int | None
    counted: _Counted

    def take(self, more_bytes: int) -> None:
        """Let payloads grow. Raises the 429 problem where all of them together would be more than the quota."""
        if self.most is not None and more_bytes > 0:
            if self.counted.usage.payload_bytes + self.counted.bytes_since + more_bytes > self.most:
                raise _used_up("max_payload_bytes", self.most, "keep less in payloads, or ask for more")
            self.counted.bytes_since += more_bytes


class QuotaKeeper:
    """Lets through what tenants may use, and refuses the rest."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # By the number that a tenant's id is: each create asks, and a UUID is hashed in Python.
        self._quotas = Kept[int, Quotas](self._look_up, clock, seconds=_KEPT_SECONDS)
        self._nodes = Kept[None, int](self._count_nodes, clock, seconds=_KEPT_SECONDS)
        self._usage = Kept[UUID, _Counted](self._count, clock, seconds=_COUNTED_SECONDS)
        self._buckets: OrderedDict[tuple[UUID, str], Bucket] = OrderedDict()

    async def take_create(self, tenant_id: UUID, payload_bytes: int) -> None:
        """Let a job be created. Raises the 429 problem where the tenant has used up what it may use."""
        quotas = await self._quotas.get(tenant_id.int)
        if quotas.creates_per_second is not None:
            await self._take(tenant_id, "creates_per_second", quotas.creates_per_second)
        if quotas.max_jobs is None and quotas.max_payload_bytes is None:
            return
        counted = await self._usage.get(tenant_id)
        if quotas.max_jobs is not None and counted.usage.jobs + counted.jobs_since >= quotas.max_jobs:
            raise _used_up("max_jobs", quotas.max_jobs, "delete jobs that are not needed, or ask for more")
        PayloadRoom(quotas.max_payload_bytes, counted).take(payload_bytes)
        counted.jobs_since += 1

    async def payload_room(self, tenant_id: UUID) -> PayloadRoom:
        """Return the room for payloads, for a job that is about to be changed."""
        most = (await self._quotas.get(tenant_id.int)).max_payload_bytes
        return PayloadRoom(most, _Counted(Usage(0, 0)) if most is None else await self._usage.get(tenant_id))

    async def take_run(self, tenant_id: UUID) -> None:
        """Let a run be created beside the schedules. Raises the 429 problem where there were too many just now.

        Not to be awaited with a connection in hand: it may want one.
        """
        quotas = await self._quotas.get(tenant_id.int)
        if quotas.runs_per_second is not None:
            await self._take(tenant_id, "runs_per_second", quotas.runs_per_second)

    async def charge_runs(self, tenant_id: UUID, count: int) -> None:
        """Take note of more runs that were created at once: the next ones wait for them."""
        quotas = await self._quotas.get(tenant_id.int)
        if quotas.runs_per_second is not None:
            bucket = await self._bucket(tenant_id, "runs_per_second", quotas.runs_per_second)
            bucket.charge(count, self._clock.monotonic())

    async def _take(self, tenant_id: UUID, name: str, rate: float) -> None:
        bucket = await self._bucket(tenant_id, name, rate)
        if (wait := bucket.take(1, self._clock.monotonic())) > 0:
            raise _too_fast(name, rate, wait)

    async def _bucket(self, tenant_id: UUID, name: str, rate: float) -> Bucket:
        share = rate / max(1, await self._nodes.get(None))
        bucket = self._buckets.get((tenant_id, name))
        if bucket is None or bucket.rate != share:
            bucket = self._buckets[tenant_id, name] = Bucket.full(share, self._clock.monotonic())
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return bucket

    async def _look_up(self, tenant: int) -> Quotas:
        async with self._database.connection() as connection:
            rows = await tenants.read(connection, tenant_id=UUID(int=tenant))
        return rows[0].quotas if rows else Quotas()

    async def _count(self, tenant_id: UUID) -> _Counted:
        async with self._database.connection() as connection:
            return _Counted(await tenants.count_usage(connection, tenant_id))

    async def _count_nodes(self, _: None) -> int:
        async with self._database.connection() as connection:
            return await nodes.count_live(connection, role="api")


def _too_fast(name: str, rate: float, wait: float) -> Problem:
    detail = f"more than this tenant's quota of {rate:g} ({name}): send it again after Retry-After"
    policy = f"q={max(1, int(rate))};w={max(1, math.ceil(1 / rate))}"
    return used_up("quota-exceeded", detail, limit=name, policy=policy, seconds=max(1, math.ceil(wait)))


def _used_up(name: str, most: int, advice: str) -> Problem:
    detail = f"this tenant's quota {name} of {most} is used up: {advice}"
    return used_up("quota-exceeded", detail, limit=name, policy=f"q={most}", seconds=_AGAIN_SECONDS)
