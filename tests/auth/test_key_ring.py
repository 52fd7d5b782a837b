"""O8: keys of our own issuer rotate while nodes run: published before they sign, verifying until no token is alive."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from countwheel.auth import bootstrap
from countwheel.auth.key_ring import PUBLISHED_BEFORE_IT_SIGNS, KeyRing, kept_fresh
from countwheel.auth.keys import RETIRED_AFTER, ROTATE_AFTER, new_signing_key
from countwheel.clock import SystemChance
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer
from countwheel.testing.clock import FakeClock
from harness import SECRET_KEY, eventually

START = datetime(2026, 11, 25, tzinfo=UTC)
A_SECOND = timedelta(seconds=1)


def test_o8_a_new_key_is_published_before_it_signs() -> None:
    """For ten minutes the old one signs on, and the new one verifies already."""
    old, new = new_signing_key(START), new_signing_key(START + ROTATE_AFTER)
    ring = KeyRing([new, old])
    assert ring.signer(new.created_at + PUBLISHED_BEFORE_IT_SIGNS - A_SECOND) == old
    assert ring.signer(new.created_at + PUBLISHED_BEFORE_IT_SIGNS) == new
    assert {key["kid"] for key in ring.public()["keys"]} == {old.kid, new.kid}
    assert ring.find(new.kid) is not None
    assert ring.find("unknown") is None


def test_o8_the_first_key_signs_at_once() -> None:
    """There is no other one."""
    key = new_signing_key(START)
    assert KeyRing([key]).signer(START) == key
    with pytest.raises(ValueError, match="a key"):
        KeyRing([])


async def test_o8_keys_are_made_and_go_in_their_time(dsn: str) -> None:
    """A new one after thirty days, once; the old one goes two days after that, and not before."""
    database, sealer = Database(dsn, name="keys", size=2), Sealer(SECRET_KEY, SystemChance())
    await database.open()
    try:
        (first,) = await bootstrap.ensure_issuer_keys(database, sealer, START)
        due = first.created_at + ROTATE_AFTER + A_SECOND
        assert await bootstrap.ensure_issuer_keys(database, sealer, due - 2 * A_SECOND) == [first]
        kept, second = await bootstrap.ensure_issuer_keys(database, sealer, due)
        assert kept == first
        assert await bootstrap.ensure_issuer_keys(database, sealer, due + RETIRED_AFTER) == [first, second]
        assert await bootstrap.ensure_issuer_keys(database, sealer, due + RETIRED_AFTER + A_SECOND) == [second]
    finally:
        await database.close()


async def test_o8_two_nodes_make_one_key(dsn: str) -> None:
    """Both find it due at the same time."""
    database, sealer = Database(dsn, name="keys", size=4), Sealer(SECRET_KEY, SystemChance())
    await database.open()
    try:
        (first,) = await bootstrap.ensure_issuer_keys(database, sealer, START)
        due = first.created_at + ROTATE_AFTER + A_SECOND
        found = await asyncio.gather(*(bootstrap.ensure_issuer_keys(database, sealer, due) for _ in range(4)))
        assert {len(keys) for keys in found} == {2}
        assert len({keys[-1].kid for keys in found}) == 1
    finally:
        await database.close()


async def test_o8_a_running_node_takes_in_a_key_that_another_has_made(dsn: str) -> None:
    """It looks every minute, and goes on looking when the database was away."""
    database, sealer, clock = Database(dsn, name="keys", size=2), Sealer(SECRET_KEY, SystemChance()), FakeClock(START)
    await database.open()
    try:
        keys = await bootstrap.ensure_issuer_keys(database, sealer, START)
        ring = KeyRing(keys)
        async with kept_fresh(ring, database, sealer, clock):
            clock.set(keys[0].created_at + ROTATE_AFTER + A_SECOND)

            async def has_two() -> bool:
                clock.advance(60)
                return len(ring.public()["keys"]) == 2

            await eventually(has_two)
    finally:
        await database.close()
