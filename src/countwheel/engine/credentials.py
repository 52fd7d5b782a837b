"""What proves whose a call is: signing keys, secrets that its job names, a token of ours. Each is kept for seconds."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from countwheel.clock import Clock
from countwheel.delivery.request import Credentials
from countwheel.domain.calling import Calling, Signature
from countwheel.store import secrets, signing_keys
from countwheel.store.database import Database
from countwheel.store.runs import ClaimedRun
from countwheel.store.sealing import Sealer

KEEP_SECONDS = 5.0
"""What is changed holds on every node after this."""

_MAX_KEPT = 10_000


class TargetTokens(Protocol):
    """Who makes tokens for targets."""

    def token_for(self, tenant_id: UUID, job_id: UUID, audience: str, now: datetime) -> str:
        """Return a token that tells `audience` which job calls, good for minutes."""
        ...


class CredentialStore:
    """A small cache in front of the database."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, tokens: TargetTokens) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._tokens = tokens
        self._keys: dict[UUID, tuple[float, Credentials]] = {}
        self._values: dict[tuple[UUID, str], tuple[float, str]] = {}

    async def of(self, run: ClaimedRun, calling: Calling, now: datetime) -> Credentials:
        """Return what a run's call needs at the database's time `now`; a secret that is not there is not in it.

        Raises `LookupError` for a tenant that does not exist.
        """
        keys = await self._signing_keys(run.tenant_id)
        names = calling.secret_names()
        audience = calling.authorization.audience if calling.authorization is not None else None
        if not names and audience is None:
            return keys
        token = None if audience is None else self._tokens.token_for(run.tenant_id, run.job_id, audience, now)
        return Credentials(keys.secrets, keys.private_keys, await self._values_of(run.tenant_id, names), token)

    async def _signing_keys(self, tenant_id: UUID) -> Credentials:
        now = self._clock.monotonic()
        known = self._keys.get(tenant_id)
        if known is not None and known[0] > now:
            return known[1]
        async with self._database.connection() as connection:
            rows = await signing_keys.find(connection, [tenant_id])
        if not rows:
            raise LookupError(f"tenant {tenant_id} has no signing secret")
        found = Credentials(
            secrets=[row.opened(self._sealer) for row in rows if row.scheme == Signature.SHARED_SECRET],
            private_keys=[row.opened(self._sealer) for row in rows if row.scheme != Signature.SHARED_SECRET],
        )
        _bound(self._keys)
        self._keys[tenant_id] = now + KEEP_SECONDS, found
        return found

    async def _values_of(self, tenant_id: UUID, names: Iterable[str]) -> dict[str, str]:
        now = self._clock.monotonic()
        known = {name: self._values.get((tenant_id, name), (0.0, "")) for name in names}
        stale = [name for name, (until, _) in known.items() if until <= now]
        values = {name: value for name, (until, value) in known.items() if until > now}  # whatever is dropped meanwhile
        if stale:
            async with self._database.connection() as connection:
                found = await secrets.open_all(connection, self._sealer, tenant_id, stale)
            _bound(self._values)
            for name in stale:
                self._values.pop((tenant_id, name), None)  # what is deleted is not sent on
            self._values |= {(tenant_id, name): (now + KEEP_SECONDS, value) for name, value in found.items()}
            values |= found
        return values


def _bound(kept: dict[UUID, tuple[float, Credentials]] | dict[tuple[UUID, str], tuple[float, str]]) -> None:
    """Start again where more is kept than a node ever needs at a time."""
    if len(kept) >= _MAX_KEPT:
        kept.clear()
