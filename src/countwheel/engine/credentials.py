"""What proves whose a call is: signing keys, secrets that its job names, a token of ours. Each is kept for seconds."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from countwheel.auth.kept import Kept
from countwheel.clock import Clock
from countwheel.delivery.request import Credentials
from countwheel.domain.calling import PLAIN, Calling, Signature
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
        # By the number that a tenant's id is: it is asked for each call, and a UUID is hashed in Python.
        self._keys = Kept[int, Credentials](self._look_up_keys, clock, seconds=KEEP_SECONDS, most=_MAX_KEPT)
        self._values: dict[tuple[UUID, str], tuple[float, str]] = {}

    def known(self, run: ClaimedRun, calling: Calling) -> Credentials | None:
        """Return what a run's call needs if nothing is to be looked up for it, or None."""
        if calling is not PLAIN and (calling.authorization is not None or calling.secret_names()):
            return None
        return self._keys.known(run.tenant_id.int)

    async def of(self, run: ClaimedRun, calling: Calling, now: datetime) -> Credentials:
        """Return what a run's call needs at the database's time `now`; a secret that is not there is not in it.

        Raises `LookupError` for a tenant that does not exist.
        """
        keys = await self._keys.get(run.tenant_id.int)
        names = calling.secret_names()
        audience = calling.authorization.audience if calling.authorization is not None else None
        if not names and audience is None:
            return keys
        token = None if audience is None else self._tokens.token_for(run.tenant_id, run.job_id, audience, now)
        return Credentials(keys.secrets, keys.private_keys, await self._values_of(run.tenant_id, names), token)

    async def _look_up_keys(self, tenant: int) -> Credentials:
        tenant_id = UUID(int=tenant)
        async with self._database.connection() as connection:
            rows = await signing_keys.find(connection, [tenant_id])
        if not rows:
            raise LookupError(f"tenant {tenant_id} has no signing secret")
        return Credentials(
            secrets=[row.opened(self._sealer) for row in rows if row.scheme == Signature.SHARED_SECRET],
            private_keys=[row.opened(self._sealer) for row in rows if row.scheme != Signature.SHARED_SECRET],
        )

    async def _values_of(self, tenant_id: UUID, names: Iterable[str]) -> dict[str, str]:
        now = self._clock.monotonic()
        known = {name: self._values.get((tenant_id, name), (0.0, "")) for name in names}
        stale = [name for name, (until, _) in known.items() if until <= now]
        values = {name: value for name, (until, value) in known.items() if until > now}  # whatever is dropped meanwhile
        if stale:
            async with self._database.connection() as connection:
                found = await secrets.open_all(connection, self._sealer, tenant_id, stale)
            if len(self._values) >= _MAX_KEPT:
                self._values.clear()  # more than a node ever needs at a time: start again
            for name in stale:
                self._values.pop((tenant_id, name), None)  # what is deleted is not sent on
            self._values |= {(tenant_id, name): (now + KEEP_SECONDS, value) for name, value in found.items()}
            values |= found
        return values
