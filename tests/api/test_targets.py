"""`/v1/targets`: limits, pauses, and what is told of a target."""

import pytest

from countwheel.store import targets
from countwheel.store.targets import COUNTED_UP_TO
from harness import Node, flood, tenant_of

LIMITS = {"max_concurrency": 3, "rate_per_second": 0.5, "burst": 2, "breaker": "off"}


async def test_a_limit_is_put_and_read_and_taken_away(node: Node) -> None:
    """A PUT says all there is to say, and repeating it changes nothing; a DELETE takes it away."""
    made = await node.api.call("PUT", "/v1/targets/partner", LIMITS)
    assert (made.status, made.headers["Location"]) == (201, "/v1/targets/partner")
    assert made.json["in_force_within_seconds"] == 0.5
    again = await node.api.call("PUT", "/v1/targets/partner", LIMITS)
    assert again.status == 200
    read = (await node.api.call("GET", "/v1/targets/partner")).json
    assert {name: read[name] for name in LIMITS} == LIMITS
    assert (read["state"], read["backlog"], read["in_flight"]) == ("limited", 0, 0)
    less = await node.api.call("PUT", "/v1/targets/partner", {"max_concurrency": 1.0})
    assert (less.json["max_concurrency"], less.json["rate_per_second"], less.json["breaker"]) == (1, None, "on")
    assert (await node.api.call("DELETE", "/v1/targets/partner")).status == 204
    assert (await node.api.call("DELETE", "/v1/targets/partner")).status == 404


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#"}),
        (
            {"max_concurrency": 0, "rate_per_second": 0, "breaker": "maybe"},
            {"#/max_concurrency", "#/rate_per_second", "#/breaker"},
        ),
        ({"burst": 2}, {"#/rate_per_second"}),
        ({"rate_per_second": 1, "burst": 0}, {"#/burst"}),
        ({"max_concurrency": 1, "more": 1}, {"#/more"}),
    ],
)
async def test_a_wrong_limit_is_refused(node: Node, body: dict[str, object], pointers: set[str]) -> None:
    """With every fault at once, and nothing of it is kept."""
    answer = await node.api.call("PUT", "/v1/targets/partner", body)
    assert answer.status == 400
    assert {error["pointer"] for error in answer.json["errors"]} == pointers
    assert (await node.api.call("GET", "/v1/targets/partner")).status == 404


@pytest.mark.parametrize("name", ["api.example.com", "api.example.com:8443", "[2001:db8::1]:81", "Partner_1"])
async def test_a_target_has_the_name_of_a_flow_or_a_host(node: Node, name: str) -> None:
    """With a port where that is not the scheme's own."""
    assert (await node.api.call("PUT", f"/v1/targets/{name}", {"max_concurrency": 1})).status == 201
    assert (await node.api.call("GET", f"/v1/targets/{name}")).json["name"] == name


async def test_a_pause_keeps_its_first_moment(node: Node) -> None:
    """Pausing again changes the reason; resuming twice changes nothing; what nobody knows cannot be resumed."""
    first = await node.api.call("POST", "/v1/targets/partner/pause", {"reason": "one"})
    second = await node.api.call("POST", "/v1/targets/partner/pause", {"reason": "two"})
    assert (first.json["paused_at"], second.json["pause_reason"]) == (second.json["paused_at"], "two")
    for _ in range(2):
        resumed = await node.api.call("POST", "/v1/targets/partner/resume")
        assert (resumed.status, resumed.json["state"], "paused_at" in resumed.json) == (200, "ok", False)
    assert (await node.api.call("POST", "/v1/targets/nobody/resume")).status == 404


async def test_a_tenant_limits_and_pauses_so_many_targets(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is a 409, until another is let go. What is limited can be changed; another tenant has its own."""
    monkeypatch.setattr(targets, "MOST_OF_A_TENANT", 2)
    limit = {"max_concurrency": 1}
    assert (await node.api.call("PUT", "/v1/targets/a", limit)).status == 201
    assert (await node.api.call("POST", "/v1/targets/b/pause")).status == 200
    for refused in (
        await node.api.call("PUT", "/v1/targets/c", limit),
        await node.api.call("POST", "/v1/targets/c/pause"),
    ):
        assert (refused.status, "2 targets are limited or paused" in refused.json["detail"]) == (409, True)
    assert (await node.api.call("GET", "/v1/targets/c")).status == 404
    assert (await node.api.call("PUT", "/v1/targets/b", limit)).status == 200
    assert (await node.api.call("POST", "/v1/targets/a/pause", {"reason": "they move house"})).status == 200
    stranger = await node.client(tenant="stranger")
    assert (await stranger.call("PUT", "/v1/targets/c", limit)).status == 201
    await node.api.call("POST", "/v1/targets/a/resume")
    assert (await node.api.call("DELETE", "/v1/targets/a")).status == 204
    assert (await node.api.call("PUT", "/v1/targets/c", limit)).status == 201


async def test_targets_are_listed_by_name(node: Node) -> None:
    """In pages; with those that have no row and that something waits for, and with none of another tenant."""
    await node.engine.pacer.stop()
    await node.engine.claimer.stop()
    tenant_id = await tenant_of(node, node.api)
    for name in ("b", "d", "f"):
        await node.api.call("POST", f"/v1/targets/{name}/pause")
    async with node.database.connection() as connection:
        for name, count in (("a", 3), ("c", 2), ("f", 1)):
            await flood(connection, tenant_id, count, "http://127.0.0.1:9/", flow=name)
            await connection.execute(
                "UPDATE runs SET lane = %s, set_aside = true WHERE lane IS NULL AND due_at < now()", [name]
            )
    page = (await node.api.call("GET", "/v1/targets?page_size=3")).json
    assert [(item["name"], item["backlog"]) for item in page["items"]] == [("a", 3), ("b", 0), ("c", 2)]
    rest = (await node.api.call("GET", f"/v1/targets?page_size=3&page_token={page['next_page_token']}")).json
    assert [(item["name"], item["state"]) for item in rest["items"]] == [("d", "paused"), ("f", "paused")]
    assert rest["next_page_token"] == ""
    stranger = await node.client(tenant="stranger")
    assert (await stranger.call("GET", "/v1/targets")).json["items"] == []
    foreign = await stranger.call("GET", "/v1/targets/b")
    unknown = await stranger.call("GET", "/v1/targets/x")
    assert foreign.status == unknown.status == 404
    assert {**foreign.json, "instance": ""} == {**unknown.json, "instance": ""}


async def test_a_long_backlog_is_counted_up_to_a_bound(node: Node) -> None:
    """And it is said that there may be more."""
    await node.api.call("POST", "/v1/targets/partner/pause")
    await node.engine.pacer.stop()
    await node.engine.claimer.stop()
    tenant_id = await tenant_of(node, node.api)
    async with node.database.connection() as connection:
        await flood(connection, tenant_id, COUNTED_UP_TO + 5, "http://127.0.0.1:9/", flow="partner")
        await connection.execute("UPDATE runs SET lane = 'partner', set_aside = true WHERE due_at < now()")
    read = (await node.api.call("GET", "/v1/targets/partner")).json
    assert (read["backlog"], read["backlog_is_more"]) == (COUNTED_UP_TO, True)
