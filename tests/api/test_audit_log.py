"""The audit log: every change and every refusal, with who, what, where from and by which key; never a secret."""

from typing import Any

import psycopg
import pytest

from countwheel.api import recording
from harness import Api, Node

URL = "http://127.0.0.1:9/hook?token=of-the-target"
SECRETS = ("of-the-target", "in-the-payload", "in-a-header", "s3cr3t-value")


async def entries(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.call("GET", f"/v1/audit-log?page_size=200{query}")
    assert answer.status == 200
    return answer.json["items"]


async def act(node: Node) -> dict[str, Any]:
    """Do a little of everything, and return the job that it was done to."""
    job = await node.api.create(
        schedule_recurring="0 0 1 1 *",
        job_url=URL,
        job_payload={"password": "in-the-payload"},
        headers={"x-key": "in-a-header"},
    )
    await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"name": "nightly"})
    await node.api.call("PUT", "/v1/secrets/target", {"value": "s3cr3t-value"})
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    return job


async def test_every_change_is_on_record_before_its_answer(node: Node) -> None:
    """Who, what, on which resource, from where, with which key, under which request id; latest first."""
    job = await act(node)
    made = await entries(node.api)
    assert [(entry["action"], entry["resource"], entry["status"]) for entry in made] == [
        ("jobs:Delete", f"jobs/{job['job_id']}", 201),
        ("secrets:Put", "secrets/target", 201),
        ("jobs:Update", f"jobs/{job['job_id']}", 200),
        ("jobs:Create", "jobs/*", 201),
    ]
    assert {entry["source_ip"] for entry in made} == {"127.0.0.1"}
    assert len({(entry["principal"], entry["key_id"]) for entry in made}) == 1
    assert made[0]["principal"].startswith("clients/cwc_")
    answer = await node.api.call("PUT", "/v1/secrets/target", {"value": "x"})
    (latest, *_) = await entries(node.api)
    assert latest["request_id"] == answer.headers["X-Request-Id"]


async def test_a_change_shows_how_it_was_before_and_after(node: Node) -> None:
    """A rename: the old name before, the new one after; a create has no before, a delete shows what went."""
    await act(node)
    deleted, put, renamed, created = await entries(node.api)
    assert ("name" in renamed["before"] and renamed["before"]["name"]) != "nightly"
    assert renamed["after"]["name"] == "nightly"
    assert (created["before"], created["after"]["status"]) == (None, "ACTIVE")
    assert (put["before"], put["after"]["version"]) == (None, 1)
    assert (deleted["before"]["status"], deleted["after"]["status"]) == ("ACTIVE", "DELETED")


async def test_no_secret_is_in_it(node: Node) -> None:
    """Not the target's token in a URL, no payload, no header's value, no secret that was shown once."""
    await act(node)
    client = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": []})).json
    principal = (await node.api.call("POST", "/v1/principals", {"name": "p"})).json["principal_id"]
    key = (await node.api.call("POST", f"/v1/principals/{principal}/access-keys")).json
    rotated = (await node.api.call("POST", "/v1/signing-secrets:rotate", {})).json
    tenant = (await node.api.call("POST", "/v1/tenants", {"name": "team-a"})).json
    shown = [client["client_secret"], key["secret_access_key"], rotated["secret"], tenant["admin"]["client_secret"]]
    written = str(await entries(node.api))
    assert [secret for secret in [*SECRETS, *shown] if secret in written] == []
    assert "?[hidden]" in written


async def test_what_is_done_to_many_is_on_record_with_its_filter(node: Node) -> None:
    """Which jobs were meant, and how many were changed."""
    await act(node)
    asked = {"filter": {"target": "127.0.0.1"}}
    await node.api.call("POST", "/v1/jobs:pause", asked)
    (entry, *_) = await entries(node.api)
    assert (entry["action"], entry["after"]["asked"], entry["after"]["answered"]["changed"]) == ("jobs:Pause", asked, 0)


async def test_what_was_refused_is_on_record_too(node: Node) -> None:
    """403 of a change and of a read; what was only read is not, and what was wrong in itself neither."""
    reader = await node.client(scopes=frozenset({"runs:read"}))
    assert (await reader.call("POST", "/v1/jobs", {})).status == 403
    assert (await reader.call("GET", "/v1/jobs")).status == 403
    assert (await node.api.call("GET", "/v1/jobs")).status == 200
    assert (await node.api.call("POST", "/v1/jobs", {})).status == 400
    made = [(entry["action"], entry["status"], entry["after"]) for entry in await entries(node.api)]
    assert made == [("jobs:List", 403, None), ("jobs:Create", 403, None)]


async def test_it_is_filtered_and_paged(node: Node) -> None:
    """By who, what, which resource and when; nobody sees another tenant's."""
    job = await act(node)
    assert [entry["action"] for entry in await entries(node.api, "&action=secrets:Put")] == ["secrets:Put"]
    assert len(await entries(node.api, f"&resource=jobs/{job['job_id']}")) == 2
    (first, *_) = await entries(node.api)
    assert len(await entries(node.api, f"&principal={first['principal']}")) == 4
    assert await entries(node.api, "&principal=clients/nobody") == []
    assert await entries(node.api, "&before=2020-01-01T00:00:00Z") == []
    assert len(await entries(node.api, "&after=2020-01-01T00:00:00Z")) == 4
    seen, where = [], "/v1/audit-log?page_size=3"
    while where:
        answer = await node.api.call("GET", where)
        seen += [entry["action"] for entry in answer.json["items"]]
        where = answer.headers["Link"].split(">")[0][1:] if answer.json["next_page_token"] else ""
    assert seen == ["jobs:Delete", "secrets:Put", "jobs:Update", "jobs:Create"]
    assert await entries(await node.client(tenant="elsewhere")) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET status = 200", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
async def test_nobody_rewrites_it(node: Node, dsn: str, statement: str) -> None:
    """Append-only: not even whoever owns the database changes a row by accident."""
    await act(node)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await connection.execute(statement)


async def test_a_long_document_is_left_out_and_said_to_be(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit is not kept: the entry says how long it was."""
    monkeypatch.setattr(recording, "MOST_CHARACTERS", 100)
    await node.api.call("PUT", "/v1/calendars/long", {"dates": ["2027-01-01", "2027-02-01", "2027-03-01"]})
    (entry, *_) = await entries(node.api)
    assert (entry["action"], "characters are more than" in entry["after"]["left_out"]) == ("calendars:Put", True)


async def test_a_change_that_cannot_be_put_on_record_is_no_fault_of_the_clients(node: Node, dsn: str) -> None:
    """It may have been made: 500, which says so, and no 400, which would say that nothing was."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("ALTER TABLE audit_log ADD CHECK (action <> 'calendars:Put') NOT VALID")
    assert (await node.api.call("PUT", "/v1/calendars/own", {})).status == 500
    assert (await node.api.call("PUT", "/v1/secrets/own", {"value": "x"})).status == 201
