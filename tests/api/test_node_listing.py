"""Nodes as operators see them, and what /readyz warns of."""

import pytest

from countwheel.store import durability
from countwheel.store.database import Database
from harness import Node, running_node


async def test_nodes_are_listed_for_administrators(node: Node, dsn: str) -> None:
    """Identity, heartbeat, version and clock offset of each, a page at a time; without the scope admin 403."""
    async with running_node(dsn) as other:
        first = (await node.api.call("GET", "/v1/nodes?page_size=1")).json
        assert first["next_page_token"]
        second = (await node.api.call("GET", f"/v1/nodes?page_size=1&page_token={first['next_page_token']}")).json
        shown = [*first["items"], *second["items"]]
        assert [entry["node_id"] for entry in shown] == sorted([node.engine.node.node_id, other.engine.node.node_id])
        assert second["next_page_token"] == ""
        assert {entry["status"] for entry in shown} == {"LIVE"}
        await other.engine.node.renew()
        (entry,) = [
            entry
            for entry in (await node.api.call("GET", "/v1/nodes")).json["items"]
            if entry["node_id"] == other.engine.node.node_id
        ]
        assert abs(entry["clock_offset_ms"]) < 500
    reader = await node.client(scopes=frozenset({"jobs:read"}))
    assert (await reader.call("GET", "/v1/nodes")).status == 403


async def test_a_clock_that_disagrees_is_an_alarm(node: Node) -> None:
    """Scenario "clock step, skew between nodes": /readyz names the node, how far it is off, and what to do."""
    async with node.database.connection() as connection:
        await connection.execute("UPDATE nodes SET clock_offset_ms = 3600000")
        answer = await node.api.call("GET", "/readyz")
    skew = [warning for warning in answer.json["warnings"] if warning["code"] == "clock-skew"]
    assert answer.status == 200
    assert node.engine.node.node_id in skew[0]["detail"]
    assert "3600000 ms ahead" in skew[0]["detail"]


async def test_settings_that_can_lose_data_are_named(node: Node) -> None:
    """The tests' own PostgreSQL runs without fsync: /readyz says so."""
    answer = await node.api.call("GET", "/readyz")
    codes = {warning["code"] for warning in answer.json["warnings"]}
    assert {"fsync-off", "synchronous-commit-off"} <= codes


@pytest.mark.parametrize(
    ("settings", "standbys", "codes"),
    [
        ({"synchronous_commit": "on"}, [], []),
        ({"synchronous_commit": "on"}, [("b", "async")], ["asynchronous-standby"]),
        ({"synchronous_commit": "on", "synchronous_standby_names": "*"}, [("b", "sync")], []),
        ({"synchronous_commit": "local", "synchronous_standby_names": "*"}, [("b", "sync")], ["asynchronous-standby"]),
        (
            {"synchronous_commit": "on", "synchronous_standby_names": "b"},
            [("b", "sync"), ("c", "async")],
            ["asynchronous-standby"],
        ),
        ({"synchronous_commit": "on", "synchronous_standby_names": "b"}, [("b", None)], []),
    ],
)
def test_a_standby_that_may_lack_commits_is_named(settings, standbys, codes) -> None:
    """Scenario "asynchronous replica promoted": warned of before it happens, and only then."""
    assert [warning.code for warning in durability._of_standbys(settings, standbys)] == codes


async def test_a_transaction_that_stays_open_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario "pinned xmin, bloat": an alarm on the oldest transaction."""
    monkeypatch.setattr(durability, "_OLD_TRANSACTION_SECONDS", 0.0)
    async with database.transaction() as old, database.connection() as other:
        await old.execute("SELECT 1")
        assert "old-transaction" in {warning.code for warning in await durability.find_warnings(other)}
