"""From somebody for whom an external issuer has vouched to a principal of ours."""

from collections import OrderedDict
from uuid import UUID

from countwheel.auth.federation import ExternalIdentity
from countwheel.auth.oauth import InvalidTokenError
from countwheel.auth.principal import Principal
from countwheel.clock import Clock
from countwheel.store import access
from countwheel.store.database import Database

REMEMBERED_SECONDS = 5.0
"""How long a tenant's name is not looked up again, one that does not exist as well."""

_REMEMBERED = 1_000


class Admission:
    """Finds the tenant that a token names."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._tenants: OrderedDict[str, tuple[UUID | None, float]] = OrderedDict()

    async def principal_of(self, identity: ExternalIdentity) -> Principal:
        """Return who an external identity is here. Raises `InvalidTokenError` where its tenant does not exist."""
        tenant_id = await self._tenant(identity.tenant) if identity.tenant is not None else None
        if tenant_id is None:
            raise InvalidTokenError("the token is good, but no tenant here is its tenant: ask the operator")
        return Principal(tenant_id, f"{identity.issuer}#{identity.subject}", identity.scopes)

    async def _tenant(self, name: str) -> UUID | None:
        found = self._tenants.get(name)
        if found is not None and self._clock.monotonic() < found[1]:
            return found[0]
        async with self._database.connection() as connection:
            tenant_id = await access.find_tenant(connection, name)
        self._tenants[name] = tenant_id, self._clock.monotonic() + REMEMBERED_SECONDS
        self._tenants.move_to_end(name)
        if len(self._tenants) > _REMEMBERED:
            self._tenants.popitem(last=False)
        return tenant_id
