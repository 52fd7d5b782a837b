"""Rules that hold for every path: problems, methods, slashes, Accept, ids, pages."""

import asyncio
from uuid import uuid4

import pytest

from harness import Node

URL = "http://127.0.0.1:9/hook"
DAILY = {"schedule_recurring": "@daily", "job_url": URL}


async def test_unknown_paths_are_problems(node: Node) -> None:
    """E1: the framework's own 404 is a problem document with the true status."""
    answer = await node.api.call("GET", "/nothing/here")
    assert answer.status == answer.json["status"] == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_what_is_not_http_is_a_problem_too(node: Node) -> None:
    """E1: garbage on the wire gets a problem document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rsplit(":", 1)[1]))
    writer.write(b"NOT HTTP AT ALL\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


async def test_405_lists_all_methods_of_the_path(node: Node) -> None:
    """E11: Allow names every method of the path, not those of one route."""
    job = await node.api.create(**DAILY)
    expected = {
        "/v1/jobs": "GET, HEAD, POST",
        f"/v1/jobs/{job['job_id']}": "DELETE, GET, HEAD, PATCH, PUT",
        f"/v1/jobs/{job['job_id']}/run": "GET, HEAD, POST",
        f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}/": "DELETE, GET, HEAD",
        "/oauth/token": "POST",
        "/livez": "GET, HEAD",
    }
    for path, allow in expected.items():
        answer = await node.api.call("TRACE", path)
        assert (path, answer.status, answer.headers.get("Allow")) == (path, 405, allow)
        assert answer.json["type"] == "/docs/problems/method-not-allowed"


async def test_run_paths_work_with_and_without_slash(node: Node) -> None:
    """E10: both spellings answer the same, without a redirect."""
    job = await node.api.create(**DAILY)
    for path in (f"/v1/jobs/{job['job_id']}/run", f"/v1/jobs/{job['job_id']}/run/{job['next_run']['run_id']}"):
        bare, slashed = await node.api.call("GET", path), await node.api.call("GET", path + "/")
        assert bare.status == slashed.status == 200
        assert bare.body == slashed.body


async def test_head_answers_without_a_body(node: Node) -> None:
    """HEAD is GET without its body."""
    answer = await node.api.call("HEAD", "/v1/jobs")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*;q=0.1", 200),
        ("text/html, application/json;q=0.5", 200),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("application/xml;q=1", 406),
    ],
)
async def test_accept_that_cannot_be_met_is_refused(node: Node, accept: str, status: int) -> None:
    """E8: 406 where the Accept header excludes JSON."""
    assert (await node.api.call("GET", "/v1/jobs", headers={"Accept": accept})).status == status


async def test_malformed_ids_and_unknown_ones_differ(node: Node) -> None:
    """An id that is no UUID is a mistake (400); one that is unknown is not found (404)."""
    job = await node.api.create(**DAILY)
    assert (await node.api.call("GET", "/v1/jobs/nonsense")).status == 400
    assert (await node.api.call("GET", f"/v1/jobs/{uuid4()}")).status == 404
    assert (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/nonsense/")).status == 400
    assert (await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/{uuid4()}/")).status == 404
    assert (
        await node.api.call("DELETE", f"/v1/jobs/{job['job_id']}/run/ffffffff-ffff-ffff-ffff-ffffffffffff")
    ).status == 404


async def test_pages_follow_each_other_without_gap_or_repeat(node: Node) -> None:
    """E6: walking next_page_token shows every job once, newest first; the last page has no token and no Link."""
    created = [(await node.api.create(**DAILY, name=f"job {number}"))["job_id"] for number in range(7)]
    seen, path = [], "/v1/jobs?page_size=3"
    while path:
        answer = await node.api.call("GET", path)
        seen += [job["job_id"] for job in answer.json["items"]]
        token = answer.json["next_page_token"]
        assert bool(token) == ('rel="next"' in answer.headers.get("Link", ""))
        path = answer.headers["Link"].split(">")[0][1:] if token else ""
    assert seen == created[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "page_size=-1",
        "page_size=x",
        "page_size=1&page_size=2",
        "page_token=garbage",
        "page_token=%00",
        "page_token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "status=NOPE",
        "created_after=yesterday",
        "show_deleted=maybe",
        "label=nocolon",
        "label=a%20b:c",
        "target=",
        "target=http://localhost",
        "statsu=ACTIVE",
    ],
)
async def test_parameters_that_mean_nothing_are_refused(node: Node, query: str) -> None:
    """E6: 400 names the parameter; a mistyped one is not passed over."""
    answer = await node.api.call("GET", f"/v1/jobs?{query}")
    assert answer.status == 400
    assert query.split("=", 1)[0] in answer.json["detail"]


async def test_a_page_token_belongs_to_its_filters(node: Node) -> None:
    """E6: a token with other filters, or on another list, is refused; sizes are clamped."""
    for number in range(3):
        await node.api.create(**DAILY, name=str(number))
    token = (await node.api.call("GET", "/v1/jobs?page_size=1&status=ACTIVE")).json["next_page_token"]
    assert (await node.api.call("GET", f"/v1/jobs?page_size=2&status=ACTIVE&page_token={token}")).status == 200
    assert (await node.api.call("GET", f"/v1/jobs?page_token={token}")).status == 400
    assert (await node.api.call("GET", "/v1/jobs?page_size=100000")).status == 200
    assert len((await node.api.call("GET", "/v1/jobs?page_size=0")).json["items"]) == 3


async def test_jobs_are_filtered(node: Node) -> None:
    """E6: by status, target, label and time of creation."""
    billing = await node.api.create(**DAILY, labels={"team": "billing", "env": "prod"})
    other = await node.api.create(schedule_recurring="@daily", job_url="http://localhost:1/", labels={"team": "ops"})

    async def found(query: str) -> set[str]:
        answer = await node.api.call("GET", f"/v1/jobs?{query}")
        assert answer.status == 200, answer.body
        return {job["job_id"] for job in answer.json["items"]}

    both = {billing["job_id"], other["job_id"]}
    assert await found("label=team:billing") == {billing["job_id"]}
    assert await found("label=team:billing&label=env:prod") == {billing["job_id"]}
    assert await found("label=team:billing&label=env:test") == set()
    assert await found("label=team:billing&label=team:ops") == set()
    assert await found("target=localhost") == {other["job_id"]}
    assert await found("status=ACTIVE") == both
    assert await found("status=COMPLETED") == set()
    assert await found(f"created_after={billing['created_at']}") == both
    assert await found(f"created_before={billing['created_at']}") == set()


async def test_health_and_documents_are_open(node: Node) -> None:
    """Probes, contract, documentation and problem pages need no token."""
    node.api.token = None
    for path in ("/livez", "/readyz", "/openapi.json", "/docs", "/docs/problems/not-found", "/oauth/jwks.json"):
        assert (path, (await node.api.call("GET", path)).status) == (path, 200)
    page = (await node.api.call("GET", "/docs")).body.decode()
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"/docs/assets/{asset}" in page
        assert (await node.api.call("GET", f"/docs/assets/{asset}")).status == 200
    assert (await node.api.call("GET", "/docs/assets/..%2f..%2fapp.py")).status == 404
