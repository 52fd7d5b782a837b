"""Answering a repeated key with what was answered first, or refusing another meaning (criteria I1 and I3)."""

from uuid import UUID

from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.store import idempotency

REPLAYED = {"Idempotent-Replayed": "true"}


async def was_used(api: ApiParts, operation: str, tenant_id: UUID, key: str | None) -> bool:
    """Whether a key was used before, with whatever meaning."""
    if key is None:
        return False
    async with api.database.connection() as connection:
        return bool(await idempotency.find(connection, operation, [(tenant_id, key)]))


async def find_answer(
    api: ApiParts, operation: str, tenant_id: UUID, key: str | None, fingerprint: bytes | None
) -> str:
    """Return what was answered to a key that was there before.

    Raises the 409 problem while the first request is under way, and the 422 one where the key was used for another.
    """
    if key is None:
        raise AssertionError("a request without a key is always new")
    async with api.database.connection() as connection:
        stored = (await idempotency.find(connection, operation, [(tenant_id, key)])).get((tenant_id, key))
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
