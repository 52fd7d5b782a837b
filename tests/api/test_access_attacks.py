"""Ways in that were tried, and are shut: paths that are no names, other tenants, rights that end halfway."""

import asyncio

import pytest
from yarl import URL

from harness import Api, Node


async def send_raw(node: Node, path: str, api: Api) -> bytes:
    """Return the whole answer to a path that is sent as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(node.url).port)
    lines = (f"GET {path} HTTP/1.1", "host: x", f"authorization: Bearer {api.token}", "connection: close", "", "")
    writer.write("\r\n".join(lines).encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "part", ["%0d%0aX-Evil:%20yes", "%E6%BC%A2", "%00", "a%22b", "%ff", "x" * 5000, "{jobId}", "*"]
)
@pytest.mark.parametrize("base", ["/v1/jobs/", "/v1/calendars/"])
async def test_e3_a_path_that_is_no_name_is_refused_as_any_other(node: Node, base: str, part: str) -> None:
    """403 with its challenge, on record, and nothing of the path ends a header's line; with the right, 400 or 404."""
    reader = await node.client(scopes=frozenset({"runs:read"}))
    head = (await send_raw(node, base + part, reader)).split(b"\r\n\r\n")[0]
    assert (head.split()[1], b"insufficient_scope" in head, b"\nX-Evil" in head) == (b"403", True, False)
    (entry,) = (await node.api.call("GET", "/v1/audit-log")).json["items"]
    assert (entry["status"], entry["resource"].isascii(), entry["resource"].isprintable()) == (403, True, True)
    assert entry["resource"] != f"{base.removeprefix('/v1/')}*", "no path names a whole collection"
    assert (await send_raw(node, base + part, node.api)).split()[1] in {b"400", b"404"}


@pytest.mark.parametrize("when", ["2027-02-30T00:00:00Z", "2027-06-30T12:59:60Z", "2199-12-31T23:59:59-23:59"])
async def test_e2_an_instant_that_no_calendar_has_is_refused(node: Node, when: str) -> None:
    """It has the form of one, and is none: 400 with its place, for the end of a key and for a simulation."""
    principal_id = (await node.api.call("POST", "/v1/principals", {"name": "p"})).json["principal_id"]
    key = await node.api.call("POST", f"/v1/principals/{principal_id}/access-keys", {"expires_at": when})
    question = {"action": "jobs:Read", "resource": "jobs/1", "context": {"current_time": when}}
    simulation = await node.api.call("POST", "/v1/policies:simulate", question)
    assert (key.status, key.json["errors"][0]["pointer"]) == (400, "#/expires_at")
    assert (simulation.status, simulation.json["errors"][0]["pointer"]) == (400, "#/context/current_time")


async def test_nodes_are_shown_to_the_operators_alone(node: Node) -> None:
    """An administrator of another tenant does not see hosts, versions, and how many runs of everybody are held."""
    elsewhere = await node.client(tenant="elsewhere")
    assert [(await api.call("GET", "/v1/nodes")).status for api in (node.api, elsewhere)] == [200, 403]


async def test_whoever_completes_a_run_without_its_token_is_on_record(node: Node) -> None:
    """A principal that says how a run went, and one that may not: as with every other change."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    run = f"jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    reader = await node.client(scopes=frozenset({"runs:read"}))
    assert (await reader.call("POST", f"/v1/{run}/complete", {"status": "SUCCEEDED"})).status == 403
    assert (await node.api.call("POST", f"/v1/{run}/complete", {"status": "SUCCEEDED"})).status == 409
    (entry,) = (await node.api.call("GET", f"/v1/audit-log?resource={run}")).json["items"]
    assert (entry["action"], entry["status"]) == ("runs:Complete", 403)
