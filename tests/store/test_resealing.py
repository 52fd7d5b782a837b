"""Criterion A8: the operator's key is changed while nodes run, and every stored secret with it."""

import base64

import pytest

from countwheel.clock import SystemChance
from countwheel.store import resealing, rights, secrets
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer, WrongSecretKeyError
from harness import SECRET_KEY, Node, run_command

OLD, NEW = SECRET_KEY, bytes(reversed(SECRET_KEY))


def test_a_sealer_opens_what_previous_keys_have_sealed() -> None:
    """It seals under the first alone, and tells the two apart."""
    chance = SystemChance()
    changing = Sealer(NEW, chance, previous=[OLD])
    old, new = Sealer(OLD, chance).seal(b"x", "row"), changing.seal(b"x", "row")
    assert (changing.open(old, "row"), changing.open(new, "row")) == (b"x", b"x")
    assert (changing.has_sealed(old, "row"), changing.has_sealed(new, "row")) == (False, True)
    assert Sealer(NEW, chance).open(new, "row") == b"x"
    with pytest.raises(WrongSecretKeyError):
        Sealer(NEW, chance).open(old, "row")
    with pytest.raises(ValueError, match="32"):
        Sealer(NEW, chance, previous=[b"short"])


async def fill(node: Node) -> str:
    """Make a secret of every kind, and return the id of an access key."""
    await node.api.call("PUT", "/v1/secrets/target", {"value": "of-the-target"})
    for scheme in ("v1", "v1a"):
        assert (await node.api.call("POST", "/v1/signing-secrets:rotate", {"scheme": scheme})).status == 201
    principal = (await node.api.call("POST", "/v1/principals", {"name": "p"})).json["principal_id"]
    made = await node.api.call("POST", f"/v1/principals/{principal}/access-keys")
    key_id: str = made.json["access_key_id"]
    return key_id


async def count_of_columns(database: Database) -> int:
    """Return how many columns there are in which something is sealed."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea' "
            "AND column_name IN ('sealed', 'signing_secret', 'private_key')"
        )
        row = await cursor.fetchone()
    return row[0] if row else 0


async def test_a8_every_secret_is_sealed_anew(node: Node) -> None:
    """With the new key alone each opens after it, with the old one none; repeating it changes nothing."""
    key_id = await fill(node)
    chance = SystemChance()
    changing, after = Sealer(NEW, chance, previous=[OLD]), Sealer(NEW, chance)
    seen, changed = await resealing.reseal(node.database, changing)
    assert seen == changed >= 6
    assert await resealing.reseal(node.database, after) == (seen, 0)
    assert await count_of_columns(node.database) == 5, "a table with a sealed column of its own is to be resealed, too"
    async with node.database.connection() as connection:
        row = await (await connection.execute("SELECT tenant_id FROM secrets")).fetchone()
        assert row is not None
        assert await secrets.open_all(connection, after, row[0], ["target"]) == {"target": "of-the-target"}
        assert await rights.of_access_key(connection, after, key_id) is not None
        with pytest.raises(WrongSecretKeyError):
            await rights.of_access_key(connection, Sealer(OLD, chance), key_id)


async def test_a8_a_key_that_opens_nothing_changes_nothing(node: Node) -> None:
    """Without the old key among the previous ones the command says so, and every secret stays as it was."""
    await fill(node)
    with pytest.raises(WrongSecretKeyError):
        await resealing.reseal(node.database, Sealer(NEW, SystemChance()))
    seen, changed = await resealing.reseal(node.database, Sealer(OLD, SystemChance()))
    assert (seen > 0, changed) == (True, 0)


async def test_a8_the_command_reseals_while_a_node_runs(node: Node, dsn: str) -> None:
    """`countwheel admin reseal`: the node, which knows both keys by then, goes on; the command is safe to repeat."""
    await fill(node)
    keys = {
        "COUNTWHEEL_DATABASE_URL": dsn,
        "COUNTWHEEL_SECRET_KEY": base64.b64encode(NEW).decode(),
        "COUNTWHEEL_PREVIOUS_SECRET_KEYS": base64.b64encode(OLD).decode(),
    }
    first, again = [await run_command("admin", "reseal", **keys) for _ in range(2)]
    assert (first.code, again.code) == (0, 0), first.errors
    assert "were sealed anew" in first.output
    assert again.output.startswith("0 of ")
    del keys["COUNTWHEEL_PREVIOUS_SECRET_KEYS"]
    without = await run_command("admin", "reseal", **keys | {"COUNTWHEEL_SECRET_KEY": base64.b64encode(OLD).decode()})
    assert without.code == 1
    assert "COUNTWHEEL_SECRET_KEY" in without.errors
