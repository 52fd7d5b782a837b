"""What must be there before the first request: a tenant, a signing key, and somebody who may come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from countwheel.auth.clients import hash_secret, new_client_id, new_client_secret
from countwheel.auth.keys import RETIRED_AFTER, ROTATE_AFTER, SigningKey, new_signing_key
from countwheel.auth.principal import ALL_SCOPES
from countwheel.clock import Chance
from countwheel.domain import ids
from countwheel.store import access, clients
from countwheel.store.access import IssuerKeyRow
from countwheel.store.clients import ClientRow
from countwheel.store.database import Connection, Database
from countwheel.store.sealing import Sealer

DEFAULT_TENANT = "default"
"""The tenant that is there from the first start: whoever operates the deployment."""
ADMIN_CLIENT = "admin"
_ENTROPY_BYTES = 10
_SIGNING_SECRET_BYTES = 32


class AdminExistsError(Exception):
    """There is a client already that may administer the deployment."""


@dataclass(frozen=True, slots=True)
class ClientTerms:
    """What a new client is called, whose it is, and what it may do."""

    name: str
    tenant: str
    scopes: frozenset[str]


async def ensure_tenant(
    database: Database, sealer: Sealer, chance: Chance, now: datetime, *, name: str = DEFAULT_TENANT
) -> UUID:
    """Return the tenant called `name`, made with a fresh signing secret where there is none."""
    async with database.connection() as connection:
        _, tenant_id = await _ensure_tenant(connection, sealer, chance, now, name)
    return tenant_id


async def create_tenant(
    connection: Connection, sealer: Sealer, chance: Chance, now: datetime, *, name: str
) -> tuple[UUID, tuple[str, str]] | None:
    """Make a tenant called `name` with its first administrator, and return its id, and the client's id and secret.

    None where there is one of that name. Must run in a transaction: a tenant without anybody would be nobody's.
    """
    is_new, tenant_id = await _ensure_tenant(connection, sealer, chance, now, name)
    if not is_new:
        return None
    return tenant_id, await _add_client(connection, chance, ClientTerms(ADMIN_CLIENT, name, ALL_SCOPES))


async def _ensure_tenant(
    connection: Connection, sealer: Sealer, chance: Chance, now: datetime, name: str
) -> tuple[bool, UUID]:
    tenant_id = ids.job_id(now, chance.token_bytes(_ENTROPY_BYTES))
    signing_secret = chance.token_bytes(_SIGNING_SECRET_BYTES)
    found = await access.ensure_tenant(
        connection, sealer, tenant_id=tenant_id, name=name, signing_secret=signing_secret
    )
    return found == tenant_id, found


async def ensure_issuer_keys(database: Database, sealer: Sealer, now: datetime) -> list[SigningKey]:
    """Return the keys of our issuer, oldest first: a fresh one is made where the newest has been there long enough, and
    those go that have signed nothing for longer than a token lives.
    """
    async with database.connection() as connection:
        rows = await access.issuer_keys(connection, sealer)
    if _is_due(rows, now) or _retired(rows, now):
        async with database.transaction() as connection:
            await access.lock_issuer_keys(connection)
            rows = await access.issuer_keys(connection, sealer)  # another node may have been quicker
            if retired := _retired(rows, now):
                await access.delete_issuer_keys(connection, [row.kid for row in retired])
                rows = [row for row in rows if row not in retired]
            if _is_due(rows, now):
                fresh = new_signing_key(now)
                rows.append(IssuerKeyRow(fresh.kid, fresh.private_key, fresh.created_at))
                await access.add_issuer_key(connection, sealer, rows[-1])
    return [SigningKey(row.kid, row.private_key, row.created_at) for row in rows]


def _is_due(rows: Sequence[IssuerKeyRow], now: datetime) -> bool:
    return not rows or now - rows[-1].created_at > ROTATE_AFTER


def _retired(rows: Sequence[IssuerKeyRow], now: datetime) -> list[IssuerKeyRow]:
    """Return the keys whose successor has signed for longer than any token lives."""
    return [row for row, successor in pairwise(rows) if now - successor.created_at > RETIRED_AFTER]


async def create_client(
    database: Database,
    chance: Chance,
    *,
    name: str,
    tenant: str = DEFAULT_TENANT,
    scopes: frozenset[str] = ALL_SCOPES,
) -> tuple[str, str]:
    """Make a client and return its id and its secret, which is shown this once and kept only as a hash.

    Raises `LookupError` if there is no such tenant.
    """
    async with database.connection() as connection:
        return await _add_client(connection, chance, ClientTerms(name, tenant, scopes))


async def create_admin(
    database: Database, sealer: Sealer, chance: Chance, now: datetime, *, beside_others: bool = False
) -> tuple[str, str]:
    """Make a client with every scope in the default tenant, the tenant too where it is not there, and return the
    client's id and its secret.

    Raises `AdminExistsError` if there is an admin, unless another one may stand `beside_others` (of two who ask at the
    same time one is refused), and `WrongSecretKeyError` where the sealer's key is not this database's.
    """
    await ensure_issuer_keys(database, sealer, now)
    await ensure_tenant(database, sealer, chance, now)
    async with database.transaction() as connection:
        await clients.lock(connection)
        if not beside_others and await clients.has_admin(connection):
            raise AdminExistsError
        return await _add_client(connection, chance, ClientTerms(ADMIN_CLIENT, DEFAULT_TENANT, ALL_SCOPES))


async def _add_client(connection: Connection, chance: Chance, terms: ClientTerms) -> tuple[str, str]:
    client_id, secret = new_client_id(chance), new_client_secret(chance)
    tenant_id = await access.find_tenant(connection, terms.tenant)
    if tenant_id is None:
        raise LookupError(f"there is no tenant {terms.tenant}")
    row = ClientRow(client_id, tenant_id, hash_secret(secret), terms.scopes, terms.name)
    await clients.create(connection, row)
    return client_id, secret
