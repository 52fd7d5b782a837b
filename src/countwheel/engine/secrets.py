"""The signing secret of each tenant whose runs this node holds, kept for a minute."""

from collections.abc import Iterable
from uuid import UUID

from countwheel.clock import Clock
from countwheel.store import access
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer

_KEEP_SECONDS = 60.0


class SigningSecrets:
    """A small cache in front of `tenants`: a secret that is changed signs within a minute, on every node."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._known: dict[UUID, tuple[float, bytes]] = {}

    async def load(self, tenant_ids: Iterable[UUID]) -> None:
        """Make sure that the secrets of these tenants are at hand and fresh."""
        now = self._clock.monotonic()
        stale = [tenant for tenant in tenant_ids if self._known.get(tenant, (0.0, b""))[0] <= now]
        if not stale:
            return
        async with self._database.connection() as connection:
            found = await access.signing_secrets(connection, self._sealer, stale)
        for tenant, secret in found.items():
            self._known[tenant] = (now + _KEEP_SECONDS, secret)

    async def of(self, tenant_id: UUID) -> bytes:
        """Return a tenant's secret. Raises `LookupError` for a tenant that does not exist."""
        known = self._known.get(tenant_id)
        if known is None or known[0] <= self._clock.monotonic():
            await self.load([tenant_id])
            known = self._known.get(tenant_id)
        if known is None:
            raise LookupError(f"tenant {tenant_id} has no signing secret")
        return known[1]
