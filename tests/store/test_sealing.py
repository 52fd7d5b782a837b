"""Secrets at rest."""

import pytest

from countwheel.clock import SystemChance
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer, WrongSecretKeyError

KEY = bytes(32)


def test_a_sealed_secret_opens_for_its_owner_alone() -> None:
    """AES-GCM: another key, another row or a changed byte is refused."""
    sealer = Sealer(KEY, SystemChance())
    sealed = sealer.seal(b"secret", "tenant:a")
    assert b"secret" not in sealed
    assert sealer.open(sealed, "tenant:a") == b"secret"
    other = Sealer(bytes([1] * 32), SystemChance())
    for opener, text, owner in (
        (other, sealed, "tenant:a"),
        (sealer, sealed, "tenant:b"),
        (sealer, sealed[:-1] + bytes([sealed[-1] ^ 1]), "tenant:a"),
        (sealer, b"short", "tenant:a"),
    ):
        with pytest.raises(WrongSecretKeyError, match="COUNTWHEEL_SECRET_KEY"):
            opener.open(text, owner)


def test_no_two_seals_are_alike() -> None:
    """A fresh nonce each time."""
    sealer = Sealer(KEY, SystemChance())
    assert sealer.seal(b"secret", "x") != sealer.seal(b"secret", "x")


def test_a_key_has_32_bytes() -> None:
    """Anything else is refused at once."""
    with pytest.raises(ValueError, match="32"):
        Sealer(b"short", SystemChance())


async def test_a_dump_reveals_no_secret(database: Database) -> None:
    """What the database holds of the tenant's secret and of the issuer's key is sealed."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT signing_secret FROM tenants UNION ALL SELECT private_key FROM issuer_keys"
        )
        stored = [bytes(row[0]) async for row in cursor]
    assert len(stored) == 2
    assert not any(b"PRIVATE" in text or b"whsec" in text or text[:1] == b"{" for text in stored)
