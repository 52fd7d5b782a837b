"""Policies over HTTP: put, attached, simulated; and what they do to tokens. Criterion A7."""

from typing import Any

import pytest

from harness import Answer, Api, Node, seen_within

URL = "http://127.0.0.1:9/"


def statement(effect: str, action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource} | more


async def put(node: Node, name: str, *statements: dict[str, Any]) -> Answer:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return await node.api.call("PUT", f"/v1/policies/{name}", {"document": document})


async def client_with(node: Node, scopes: list[str], *policies: str, **form: str) -> Api:
    """Return a new client that has policies attached; `form` is what it asks the token endpoint for."""
    made = (await node.api.call("POST", "/v1/clients", {"name": "client", "scopes": scopes})).json
    for policy in policies:
        holder = {"holder": f"clients/{made['client_id']}"}
        assert (await node.api.call("POST", f"/v1/policies/{policy}/attach", holder)).status == 200
    return await node.with_credentials(made["client_id"], made["client_secret"], **form)


async def test_a_policy_is_put_read_changed_and_deleted(node: Node) -> None:
    """Its version rises with each document; attached it cannot be deleted."""
    assert (await put(node, "readers", statement("Allow", "jobs:Read"))).status == 201
    assert (await put(node, "readers", statement("Allow", "jobs:Read"))).json["version"] == 1
    changed = await put(node, "readers", statement("Allow", ["jobs:Read", "jobs:List"]))
    assert (changed.status, changed.json["version"]) == (200, 2)
    made = (await node.api.call("POST", "/v1/principals", {"name": "deployer"})).json
    holder = {"holder": f"principals/{made['principal_id']}"}
    attached = (await node.api.call("POST", "/v1/policies/readers/attach", holder)).json
    assert attached["holders"] == [holder["holder"]]
    assert (await node.api.call("DELETE", "/v1/policies/readers")).status == 409
    for _ in range(2):
        assert (await node.api.call("POST", "/v1/policies/readers/detach", holder)).json["holders"] == []
    assert (await node.api.call("DELETE", "/v1/policies/readers")).status == 204
    assert (await node.api.call("GET", "/v1/policies/readers")).status == 404


async def test_a7_what_is_not_understood_is_refused_when_it_is_written(node: Node) -> None:
    """Every fault at once, each where it is in the body."""
    answer = await put(node, "wrong", statement("Allow", "jobs:Frobnicate"), statement("Maybe", "jobs:Read", "x/*"))
    assert answer.status == 400
    pointers = {fault["pointer"] for fault in answer.json["errors"]}
    assert "#/document/Statement/1/Effect" in pointers
    assert all(pointer.startswith("#/document") for pointer in pointers)
    assert (await put(node, "wrong", statement("Allow", "jobs:Frobnicate"))).json["errors"][0]["pointer"] == (
        "#/document/Statement/0/Action"
    )


async def test_a7_a_deny_wins_over_a_scope(node: Node) -> None:
    """A client with jobs:write that may not delete: 403, and everything else as before."""
    await put(node, "no-deletes", statement("Deny", "jobs:Delete"))
    api = await client_with(node, ["jobs:read", "jobs:write"], "no-deletes")
    job = await api.create(schedule_recurring="0 0 1 1 *", job_url=URL)
    refused = await api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    assert (refused.status, "insufficient_scope" in refused.headers["WWW-Authenticate"]) == (403, True)
    assert (await api.call("GET", f"/v1/jobs/{job['job_id']}")).json["status"] == "ACTIVE"


@pytest.mark.parametrize("spelt", [str.lower, str.upper])
async def test_a7_one_jobs_operator_reaches_that_job_alone(node: Node, spelt: Any) -> None:
    """By the id in the resource, however the path spells it."""
    mine, other = [await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL) for _ in range(2)]
    await put(node, "one", statement("Allow", "jobs:*", f"jobs/{mine['job_id']}"), statement("Deny", "jobs:Delete"))
    api = await client_with(node, [], "one")
    assert (await api.call("POST", f"/v1/jobs/{spelt(mine['job_id'])}/pause")).status == 200
    assert (await api.call("POST", f"/v1/jobs/{spelt(other['job_id'])}/pause")).status == 403
    assert (await api.call("DELETE", f"/v1/jobs/{spelt(mine['job_id'])}")).status == 403
    assert (await api.call("GET", "/v1/jobs")).status == 403


async def test_a7_a_bulk_operation_passes_over_what_is_denied(node: Node) -> None:
    """One job of three is denied: the others are deleted, and it stands."""
    jobs = [await node.api.create(schedule_recurring="0 0 1 1 *", job_url=URL) for _ in range(3)]
    await put(node, "keep", statement("Deny", "jobs:Delete", f"jobs/{jobs[1]['job_id']}"))
    api = await client_with(node, ["jobs:read", "jobs:write"], "keep")
    answer = await api.call("POST", "/v1/jobs:delete", {"filter": {"status": "ACTIVE"}})
    assert (answer.json["matched"], answer.json["changed"]) == (3, 2)
    left = (await node.api.call("GET", "/v1/jobs")).json["items"]
    assert [job["job_id"] for job in left] == [jobs[1]["job_id"]]


async def test_a_token_that_was_narrowed_has_no_more_than_its_scope(node: Node) -> None:
    """Asked for with a scope, a token has that: what policies allow stays away, what they deny does not."""
    await put(node, "writers", statement("Allow", "jobs:Create"), statement("Deny", "jobs:Read"))
    narrowed = await client_with(node, ["jobs:read"], "writers", scope="jobs:read")
    body = {"schedule_recurring": "0 0 1 1 *", "job_url": URL}
    assert (await narrowed.call("POST", "/v1/jobs", body)).status == 403
    assert (await narrowed.call("GET", "/v1/jobs")).status == 200
    job = await node.api.create(**body)
    assert (await narrowed.call("GET", f"/v1/jobs/{job['job_id']}")).status == 403
    whole = await client_with(node, ["jobs:read"], "writers")
    assert (await whole.call("POST", "/v1/jobs", body)).status == 201


async def test_a_changed_policy_counts_within_five_seconds(node: Node) -> None:
    """A8: nobody's rights are older than that, on any node."""
    await put(node, "readers", statement("Allow", "jobs:List"))
    api = await client_with(node, [], "readers")
    assert (await api.call("GET", "/v1/jobs")).status == 200
    await put(node, "readers", statement("Allow", "jobs:Read"))

    async def status() -> int:
        return (await api.call("GET", "/v1/jobs")).status

    await seen_within(5.0, 403, status)


async def test_conditions_see_where_a_request_comes_from(node: Node) -> None:
    """From loopback: allowed to the network that it is of, and to no other."""
    here, there = ({"IpAddress": {"countwheel:SourceIp": network}} for network in ("127.0.0.0/8", "203.0.113.0/24"))
    await put(node, "here", statement("Allow", "jobs:List", Condition=here))
    await put(node, "there", statement("Allow", "jobs:List", Condition=there))
    assert (await (await client_with(node, [], "here")).call("GET", "/v1/jobs")).status == 200
    assert (await (await client_with(node, [], "there")).call("GET", "/v1/jobs")).status == 403


async def simulate(node: Node, **question: Any) -> dict[str, Any]:
    answer = await node.api.call("POST", "/v1/policies:simulate", question)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_simulation_says_which_statement_decides(node: Node) -> None:
    """Of scopes, of somebody's own rights, of documents that are not put yet; nothing allows what nobody names."""
    said = await simulate(node, scopes=["jobs:read"], action="jobs:Read", resource="jobs/x")
    assert (said["allowed"], said["by"]["policy"], said["by"]["effect"]) == (True, "scope jobs:read", "Allow")
    said = await simulate(node, scopes=["jobs:read"], action="jobs:Delete", resource="jobs/x")
    assert said == {"allowed": False, "by": None, "reason": "no statement allows it"}
    await put(node, "no-deletes", statement("Allow", "jobs:*"), statement("Deny", "jobs:Delete", Sid="keep"))
    made = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": ["jobs:write"]})).json
    holder = f"clients/{made['client_id']}"
    await node.api.call("POST", "/v1/policies/no-deletes/attach", {"holder": holder})
    said = await simulate(node, holder=holder, action="jobs:Delete", resource="jobs/x")
    assert said["by"] == {"policy": "no-deletes", "statement": 1, "sid": "keep", "effect": "Deny"}
    assert (await simulate(node, holder=holder, action="jobs:Update", resource="jobs/x"))["allowed"]
    assert not (await simulate(node, holder=holder, scopes=["jobs:read"], action="runs:List", resource="jobs/x/run/*"))[
        "allowed"
    ]
    document = {"Version": "2012-10-17", "Statement": statement("Deny", "*")}
    said = await simulate(node, holder=holder, policies=[document], action="jobs:Update", resource="jobs/x")
    assert (said["allowed"], said["by"]["policy"]) == (False, "policies/0")


async def test_a_simulation_of_another_place_and_time(node: Node) -> None:
    """The context is the caller's own but for what is said of it."""
    condition = {
        "IpAddress": {"countwheel:SourceIp": ["10.0.0.0/8"]},
        "DateLessThan": {"countwheel:CurrentTime": "2027-01-01T00:00:00Z"},
    }
    document = {"Version": "2012-10-17", "Statement": statement("Allow", "jobs:List", Condition=condition)}
    question = {"policies": [document], "action": "jobs:List", "resource": "jobs/*"}
    assert not (await simulate(node, **question))["allowed"]
    office = {"source_ip": "10.1.2.3", "current_time": "2026-12-01T00:00:00Z"}
    assert (await simulate(node, **question, context=office))["allowed"]
    assert not (await simulate(node, **question, context=office | {"current_time": "2027-01-02T00:00:00Z"}))["allowed"]
    wrong = await node.api.call("POST", "/v1/policies:simulate", question | {"context": {"source_ip": "here"}})
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (400, "#/context/source_ip")


async def test_only_who_is_there_can_hold_a_policy(node: Node) -> None:
    """Neither a stranger nor another tenant's client."""
    await put(node, "readers", statement("Allow", "jobs:List"))
    elsewhere = await node.client(tenant="elsewhere")
    theirs = (await elsewhere.call("POST", "/v1/clients", {"name": "c", "scopes": []})).json["client_id"]
    for holder in (f"clients/{theirs}", "clients/nobody", "principals/00000000-0000-8000-8000-000000000000"):
        answer = await node.api.call("POST", "/v1/policies/readers/attach", {"holder": holder})
        assert (answer.status, answer.json["detail"]) == (404, "there is no such client or principal")


async def test_a_holder_has_so_many_policies_and_no_more(node: Node) -> None:
    """Each request asks them all: the twenty-first is refused, one that is attached already is not."""
    made = (await node.api.call("POST", "/v1/clients", {"name": "client", "scopes": []})).json
    answers = []
    for name in [f"p{number}" for number in (*range(21), 0)]:
        await put(node, name, statement("Allow", "jobs:Read", "jobs/1"))
        holder = {"holder": f"clients/{made['client_id']}"}
        answers.append(await node.api.call("POST", f"/v1/policies/{name}/attach", holder))
    assert [answer.status for answer in answers] == [200] * 20 + [409, 200]
