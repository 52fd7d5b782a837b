"""Ways in that were tried, and are shut: paths that are no names, other tenants, rights that end halfway."""

import asyncio
from typing import Any

import pytest
from yarl import URL

from harness import Api, Node

YEARLY = {"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}


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
    job = await node.api.create(**YEARLY)
    run = f"jobs/{job['job_id']}/run/{job['next_run']['run_id']}"
    reader = await node.client(scopes=frozenset({"runs:read"}))
    assert (await reader.call("POST", f"/v1/{run}/complete", {"status": "SUCCEEDED"})).status == 403
    assert (await node.api.call("POST", f"/v1/{run}/complete", {"status": "SUCCEEDED"})).status == 409
    (entry,) = (await node.api.call("GET", f"/v1/audit-log?resource={run}")).json["items"]
    assert (entry["action"], entry["status"]) == ("runs:Complete", 403)


async def restricted(node: Node, effect: str, action: str, resource: str, *scopes: str) -> Api:
    """Return a client with scopes, and with a policy of one statement."""
    document = {"Version": "2012-10-17", "Statement": {"Effect": effect, "Action": action, "Resource": resource}}
    await node.api.call("PUT", "/v1/policies/own", {"document": document})
    made = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": scopes})).json
    holder = {"holder": f"clients/{made['client_id']}"}
    assert (await node.api.call("POST", "/v1/policies/own/attach", holder)).status == 200
    return await node.with_credentials(made["client_id"], made["client_secret"])


def spellings(job_id: str) -> list[str]:
    """Return ways to write a job's id that somebody may take for it."""
    plain = job_id.replace("-", "")
    encoded = [job_id.replace("-", "%2D"), f"%{ord(job_id[0]):x}{job_id[1:]}", f"{job_id}%20", f"{job_id}%2F"]
    odd = [f"{job_id}%00", f"{job_id};x", f"{{{job_id}}}", f"urn:uuid:{job_id}", f"./{job_id}", f"x/../{job_id}"]
    return [job_id, job_id.upper(), f"{job_id}/", f"{job_id}?", plain, *encoded, *odd]


async def test_a7_no_spelling_of_an_id_gets_past_a_deny(node: Node) -> None:
    """Whatever the case, the encoding, the slash at the end or the method: the job is not seen and not changed."""
    scopes = ("jobs:read", "jobs:write", "runs:read", "runs:write")
    job = await node.api.create(**YEARLY)
    api = await restricted(node, "Deny", "*", f"jobs/{job['job_id']}*", *scopes)
    bodies = {"GET": None, "HEAD": None, "DELETE": None, "PATCH": {"name": "x"}, "PUT": YEARLY}
    for spelt in spellings(job["job_id"]):
        for method, body in bodies.items():
            answer = await api.call(method, f"/v1/jobs/{spelt}", body)
            assert (spelt, method, answer.status in {400, 403, 404, 405}) == (spelt, method, True), answer.body
    overridden = await api.call("POST", f"/v1/jobs/{job['job_id']}", {}, {"X-HTTP-Method-Override": "DELETE"})
    assert overridden.status == 405
    stored = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}")).json
    assert (stored["status"], stored.get("name")) == ("ACTIVE", None)


async def test_a7_a_denied_job_is_passed_over_by_what_is_done_to_many(node: Node) -> None:
    """Bulk operations change the others; its runs are not reached through another job's path either."""
    denied, other = [await node.api.create(**YEARLY) for _ in range(2)]
    api = await restricted(node, "Deny", "*", f"jobs/{denied['job_id']}*", "jobs:read", "jobs:write", "runs:write")
    run_id = denied["next_run"]["run_id"]
    assert (await api.call("DELETE", f"/v1/jobs/{other['job_id']}/run/{run_id}/")).status == 404
    assert (await api.call("DELETE", f"/v1/jobs/{denied['job_id']}/run/{run_id}/")).status == 403
    for verb, status in (("run", "ACTIVE"), ("pause", "ACTIVE"), ("resume", "PAUSED"), ("delete", "ACTIVE")):
        done = await api.call("POST", f"/v1/jobs:{verb}", {"filter": {"status": status}})
        assert (verb, done.status, done.json["changed"]) == (verb, 200, 1)
    assert (await node.api.call("GET", f"/v1/jobs/{denied['job_id']}")).json["status"] == "ACTIVE"
    assert len((await node.api.call("GET", f"/v1/jobs/{denied['job_id']}/run/")).json["items"]) == 1


async def test_e4_no_client_of_another_tenant_is_given_or_robbed_of_rights(node: Node) -> None:
    """Attached to, simulated for, given another secret, revoked: it is as if it were not there."""
    elsewhere = await node.client(tenant="elsewhere")
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    await elsewhere.call("PUT", "/v1/policies/all", {"document": document})
    client_id = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": []})).json["client_id"]

    async def told(client_id: str) -> list[Any]:
        asked: list[tuple[str, str, Any]] = [
            ("POST", "/v1/policies/all/attach", {"holder": f"clients/{client_id}"}),
            ("POST", "/v1/policies:simulate", {"holder": f"clients/{client_id}", "action": "a:B", "resource": "c"}),
            ("POST", f"/v1/clients/{client_id}/rotate", None),
            ("DELETE", f"/v1/clients/{client_id}", None),
        ]
        answers = [await elsewhere.call(method, path, body) for method, path, body in asked]
        return [(answer.status, answer.json["detail"]) for answer in answers]

    found = await told(client_id)
    assert found == await told("nobody")
    assert {status for status, _ in found} == {404}
    assert (await node.api.call("GET", f"/v1/clients/{client_id}")).json["policies"] == []
