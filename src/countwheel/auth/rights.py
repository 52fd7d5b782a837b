"""What callers are worth now: tenant and policies, as the database has them.

They are looked up again every few seconds. So whoever is revoked, suspended or given another policy is treated so on
every node within `REVOKED_WITHIN_SECONDS` (criterion A8), and an ordinary request costs no look-up.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import structlog

from countwheel.auth.actions import ACTIONS, actions_of
from countwheel.auth.kept import Kept
from countwheel.auth.policy import Effect, Policy, Statement
from countwheel.auth.policy_document import read_policy
from countwheel.auth.scopes import policy_of_scope
from countwheel.clock import Clock
from countwheel.domain.errors import InvalidError
from countwheel.store import access_keys, rights
from countwheel.store.database import Database
from countwheel.store.rights import HolderRow, TenantState
from countwheel.store.sealing import Sealer

REVOKED_WITHIN_SECONDS = 5.0
_KEPT_SECONDS = 3.0
_USED_EVERY_SECONDS = 60.0

_log = structlog.get_logger(__name__)

_SCOPES = {scope: policy_of_scope(scope, actions_of(scope)) for scope in set(ACTIONS.values())}


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose rights they are, and what they are."""

    tenant_id: UUID
    is_suspended: bool
    policies: tuple[Policy, ...]
    principal_id: UUID | None


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What an access key opens, with the secret that signs."""

    grant: Grant
    secret: str


Identity = tuple[UUID, str, str, str]
"""A tenant, and an issuer, a subject and an audience."""


class Rights:
    """Looks up who is worth what."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clients = Kept[str, Grant | None](self._of_client, clock, seconds=_KEPT_SECONDS, keeps_none=False)
        self._keys = Kept[str, KeyGrant | None](self._of_access_key, clock, seconds=_KEPT_SECONDS, keeps_none=False)
        self._uses = Kept[str, None](self._note_use, clock, seconds=_USED_EVERY_SECONDS)
        self._identities = Kept[Identity, Grant | None](self._of_identity, clock, seconds=_KEPT_SECONDS)
        self._tenants = Kept[str, TenantState | None](self._of_tenant, clock, seconds=_KEPT_SECONDS)

    async def of_client(self, client_id: str) -> Grant | None:
        """Return what is attached to a client of ours; None where it is revoked or was never there."""
        return await self._clients.get(client_id)

    async def of_access_key(self, access_key_id: str) -> KeyGrant | None:
        """Return what an access key opens; None where it is revoked, has expired, or was never there."""
        return await self._keys.get(access_key_id)

    async def note_use(self, access_key_id: str) -> None:
        """Note that a key has signed a request, to the minute. For whoever has checked that it has."""
        await self._uses.get(access_key_id)

    async def of_identity(self, tenant_id: UUID, issuer: str, subject: str, audience: str) -> Grant | None:
        """Return who a subject of a trusted issuer is in a tenant; None for one that nobody registered there."""
        return await self._identities.get((tenant_id, issuer, subject, audience))

    async def of_tenant(self, name: str) -> TenantState | None:
        """Return a tenant by its name, or None."""
        return await self._tenants.get(name)

    async def _of_client(self, client_id: str) -> Grant | None:
        async with self._database.connection() as connection:
            return _grant(await rights.of_client(connection, client_id))

    async def _of_identity(self, identity: Identity) -> Grant | None:
        async with self._database.connection() as connection:
            return _grant(await rights.of_identity(connection, *identity))

    async def _of_tenant(self, name: str) -> TenantState | None:
        async with self._database.connection() as connection:
            return await rights.of_tenant(connection, name)

    async def _of_access_key(self, access_key_id: str) -> KeyGrant | None:
        async with self._database.connection() as connection:
            row = await rights.of_access_key(connection, self._sealer, access_key_id)
        grant = None if row is None else _grant(row.holder)
        return None if row is None or grant is None else KeyGrant(grant, row.secret)

    async def _note_use(self, access_key_id: str) -> None:
        async with self._database.connection() as connection:
            await access_keys.use(connection, access_key_id)


@lru_cache(maxsize=1024)
def policies_of_scopes(scopes: frozenset[str]) -> tuple[Policy, ...]:
    """Return the built-in policies that scopes are shorthand for; unknown scopes stand for nothing."""
    return tuple(_SCOPES[scope] for scope in sorted(scopes) if scope in _SCOPES)


def read_stored(stored: Iterable[tuple[str, str]]) -> tuple[Policy, ...]:
    """Return policies that were found good when they were put.

    One that this release cannot read (a newer one wrote it) denies everything: what it would forbid is not known.
    """
    return tuple(_read_stored(name, document) for name, document in stored)


# To read a long one takes milliseconds, in which the node does nothing else.
@lru_cache(maxsize=1024)
def _read_stored(name: str, document: str) -> Policy:
    try:
        return read_policy(name, json.loads(document), ACTIONS.keys())
    except (InvalidError, ValueError) as error:
        _log.error("policy cannot be read and denies everything", policy=name, error=str(error))
        return Policy(name, (Statement(Effect.DENY, ("*",), ("*",), (), "unreadable"),))


def denials(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """Return what policies deny, without what they allow."""
    denying = [(policy.name, [said for said in policy.statements if said.effect is Effect.DENY]) for policy in policies]
    return tuple(Policy(name, tuple(statements)) for name, statements in denying if statements)


def _grant(row: HolderRow | None) -> Grant | None:
    if row is None:
        return None
    return Grant(row.tenant_id, row.is_suspended, read_stored(row.policies), row.principal_id)
