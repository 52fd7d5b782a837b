"""Secrets by name: written, named by jobs, never read back."""

import pytest

from harness import Node, soon


async def test_a_secret_is_written_and_never_read_back(node: Node) -> None:
    """201, then 200 with a higher version; neither the answers nor the table hold the value."""
    created = await node.api.call("PUT", "/v1/secrets/partner", {"value": "s3cr3t-value"})
    changed = await node.api.call("PUT", "/v1/secrets/partner", {"value": "another-s3cr3t"})
    read = await node.api.call("GET", "/v1/secrets/partner")
    listed = await node.api.call("GET", "/v1/secrets")
    assert [answer.status for answer in (created, changed, read, listed)] == [201, 200, 200, 200]
    assert read.json["version"] == 2
    assert listed.json["items"] == [read.json]
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT secrets::text, sealed FROM secrets")
        rows = await cursor.fetchall()
    for text in [*(answer.body for answer in (created, changed, read, listed)), str(rows).encode()]:
        assert b"s3cr3t" not in text


async def test_a_job_names_only_what_is_there(node: Node) -> None:
    """An unknown name is a 400 with its place, at the create, at a PUT and at a PATCH, beside every other fault."""
    body = {
        "schedule_oneoff": soon(3600),
        "job_url": "http://127.0.0.1/",
        "headers": {"X-Key": {"secret": "nobody"}, "Host": "x"},
        "authorization": {"type": "bearer", "secret": "nothing"},
    }
    places = ["#/headers/X-Key/secret", "#/authorization/secret"]
    created = await node.api.call("POST", "/v1/jobs", body)
    put = await node.api.call("PUT", "/v1/jobs/01a2d043-4800-75f5-a8b9-e01947c91b19", body)
    job = await node.api.create(schedule_oneoff=soon(3600), job_url="http://127.0.0.1/")
    patched = await node.api.call("PATCH", f"/v1/jobs/{job['job_id']}", {"headers": body["headers"]})
    for answer, named in ((created, places), (put, places), (patched, places[:1])):
        assert answer.status == 400
        assert {*named, "#/headers/Host"} <= {error["pointer"] for error in answer.json["errors"]}


async def test_a_secret_that_a_job_names_cannot_be_deleted(node: Node) -> None:
    """409 while an active job names it, 204 afterwards, then 404."""
    await node.api.call("PUT", "/v1/secrets/used", {"value": "x"})
    job = await node.api.create(
        schedule_oneoff=soon(3600), job_url="http://127.0.0.1/", headers={"X-Key": {"secret": "used"}}
    )
    assert (await node.api.call("DELETE", "/v1/secrets/used")).status == 409
    await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}")
    assert (await node.api.call("DELETE", "/v1/secrets/used")).status == 204
    assert (await node.api.call("DELETE", "/v1/secrets/used")).status == 404


async def test_e4_secrets_are_their_tenants_own(node: Node) -> None:
    """Another tenant sees none of it, may use the same name, and cannot name it in a job."""
    await node.api.call("PUT", "/v1/secrets/mine", {"value": "x"})
    other = await node.client(tenant="other")
    unknown = await other.call("GET", "/v1/secrets/nobodys")
    others = await other.call("GET", "/v1/secrets/mine")
    assert (
        (others.status, others.json["detail"])
        == (unknown.status, unknown.json["detail"])
        == (404, "there is no such secret")
    )
    body = {"schedule_oneoff": soon(60), "job_url": "http://127.0.0.1/", "headers": {"X": {"secret": "mine"}}}
    assert (await other.call("POST", "/v1/jobs", body)).status == 400
    assert (await other.call("PUT", "/v1/secrets/mine", {"value": "y"})).status == 201


@pytest.mark.parametrize("value", ["", " x", "x\r\nX-Evil: 1", "gr\u00fc\u00dfe", "x" * 4097, 3, None])
async def test_a_value_that_no_header_takes_is_refused(node: Node, value: object) -> None:
    """400 at the door: no value can break out of its header."""
    answer = await node.api.call("PUT", "/v1/secrets/partner", {"value": value})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (400, "#/value")
