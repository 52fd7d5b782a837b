"""Answering a repeated key with what was answered first, or refusing another meaning (criteria I1 and I3)."""

import hashlib
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.idempotency_key import key_of_signature
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.auth.principal import Principal
from countwheel.store import idempotency
from countwheel.store.idempotency import KeyedAnswer, StoredAnswer

REPLAYED = {"Idempotent-Replayed": "true"}

_NO_JOB = UUID(int=0)


async def only_once(api: ApiParts, request: Request, principal: Principal) -> None:
    """Raise the 409 problem for a signed request that came before: a secret that it makes is shown to who signed it.

    Whoever has captured one would be shown another. Asked before anything is made.
    """
    if (key := key_of_signature(request)) is None:
        return
    keyed = KeyedAnswer(key, hashlib.sha256(key.encode()).digest(), "")
    async with api.database.connection() as connection:
        if not await idempotency.keep(connection, idempotency.SHOW_SECRET, principal.tenant_id, _NO_JOB, keyed):
            raise Problem(409, "conflict", detail="this signed request was sent before: sign another one")


async def find_stored(api: ApiParts, operation: str, tenant_id: UUID, key: str | None) -> StoredAnswer | None:
    """Return what was answered to a key before, with whatever meaning; None where it was not used."""
    if key is None:
        return None
    async with api.database.connection() as connection:
        return (await idempotency.find(connection, operation, [(tenant_id, key)])).get((tenant_id, key))


async def find_replay(
    api: ApiParts, operation: str, tenant_id: UUID, key: str | None, fingerprint: bytes
) -> Response | None:
    """Return the answer again that a key was given before; None where it was not used.

    For a request that is about to be refused, as things stand now: they may have stood otherwise when it came first.
    Raises the 422 problem where the key was used for another.
    """
    stored = await find_stored(api, operation, tenant_id, key)
    return None if stored is None else json_answer(same_meaning(stored, fingerprint), 201, REPLAYED)


async def find_answer(
    api: ApiParts, operation: str, tenant_id: UUID, key: str | None, fingerprint: bytes | None
) -> str:
    """Return what was answered to a key that was there before.

    Raises the 409 problem while the first request is under way, and the 422 one where the key was used for another.
    """
    if key is None:
        raise AssertionError("a request without a key is always new")
    return same_meaning(await find_stored(api, operation, tenant_id, key), fingerprint)


def same_meaning(stored: StoredAnswer | None, fingerprint: bytes | None) -> str:
    """Return what was answered to a key that was there before, if it meant the same. Raises as `find_answer` does."""
    if stored is None:
        raise Problem(
            409,
            "idempotency-key-in-use",
            detail="another request with this Idempotency-Key is under way: send it again",
            headers={"Retry-After": "1"},
        )
    if stored.fingerprint != fingerprint:
        raise Problem(
            422,
            "idempotency-key-reused",
            detail="this Idempotency-Key was used before with another body: use a new key for a new job",
        )
    return stored.answer
