"""Who gets in, and what they see: O8, E3, E4."""

import base64
from uuid import uuid4

import pytest

from countwheel.auth import bootstrap
from countwheel.clock import SystemChance
from harness import Node

URL = "http://127.0.0.1:9/hook"
DAILY = {"schedule_recurring": "@daily", "job_url": URL}


async def test_e3_no_token_is_challenged(node: Node) -> None:
    """E3: 401 with a bare challenge without credentials, with invalid_token for bad ones."""
    node.api.token = None
    missing = await node.api.call("POST", "/v1/jobs", DAILY)
    assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="countwheel"')
    for value in ("Bearer x.y.z", "Bearer", "Basic YTpi", "Bearer a b"):
        bad = await node.api.call("GET", "/v1/jobs", headers={"Authorization": value})
        assert bad.status == 401
        assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]


async def test_e3_a_read_only_token_cannot_write(node: Node) -> None:
    """E3 and E4: 403 insufficient_scope, before the body is looked at."""
    reader = await node.client(scopes=frozenset({"jobs:read"}))
    answer = await reader.call("POST", "/v1/jobs", {"invalid": "body"})
    assert answer.status == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert "jobs:write" in answer.headers["WWW-Authenticate"]
    assert (await reader.call("GET", "/v1/jobs")).status == 200


async def test_every_operation_needs_exactly_its_scope(node: Node) -> None:
    """With the one scope an operation works, with all the others it does not."""
    job = await node.api.create(**DAILY)
    path = f"/v1/jobs/{job['job_id']}"
    run = f"{path}/run/{job['next_run']['run_id']}/"
    matrix = [
        ("GET", "/v1/jobs", None, "jobs:read"),
        ("GET", path, None, "jobs:read"),
        ("GET", f"{path}/run/", None, "runs:read"),
        ("GET", run, None, "runs:read"),
        ("PUT", "/v1/targets/partner", {"max_concurrency": 3}, "jobs:write"),
        ("POST", "/v1/targets/partner/pause", None, "jobs:write"),
        ("POST", "/v1/targets/partner/resume", None, "jobs:write"),
        ("GET", "/v1/targets", None, "jobs:read"),
        ("GET", "/v1/targets/partner", None, "jobs:read"),
        ("POST", "/v1/jobs", DAILY, "jobs:write"),
        ("DELETE", run, None, "runs:write"),
        ("DELETE", path, None, "jobs:write"),
    ]
    scopes = {"jobs:read", "jobs:write", "runs:read", "runs:write", "admin"}
    for method, where, body, scope in matrix:
        without = await node.client(scopes=frozenset(scopes - {scope}))
        assert (method, where, (await without.call(method, where, body)).status) == (method, where, 403)
        only = await node.client(scopes=frozenset({scope}))
        assert (await only.call(method, where, body)).status in {200, 201}


async def test_e4_another_tenants_job_looks_unknown(node: Node) -> None:
    """E4: a foreign id and an unknown one give the same 404, for every operation."""
    job = await node.api.create(**DAILY)
    stranger = await node.client(tenant="stranger")
    run_id = job["next_run"]["run_id"]
    for method, suffix in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/run/"),
        ("GET", f"/run/{run_id}/"),
        ("DELETE", f"/run/{run_id}/"),
    ):
        foreign = await stranger.call(method, f"/v1/jobs/{job['job_id']}{suffix}")
        unknown = await stranger.call(method, f"/v1/jobs/{uuid4()}{suffix}")
        assert foreign.status == unknown.status == 404
        assert {**foreign.json, "instance": ""} == {**unknown.json, "instance": ""}
    assert (await stranger.call("GET", "/v1/jobs")).json["items"] == []
    assert (await node.api.run(job))["status"] == "SCHEDULED"


async def test_o8_a_token_is_given_for_the_right_secret_alone(node: Node) -> None:
    """O8: Basic and body credentials work, wrong ones do not; answers are not cached."""
    client_id, secret = await bootstrap.create_client(
        node.database, SystemChance(), name="x", scopes=frozenset({"jobs:read"})
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    node.api.token = None

    def basic(pair: str) -> dict[str, str]:
        return form | {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    async def token(data: bytes, headers):
        return await node.api.call("POST", "/oauth/token", data=data, headers=headers)

    good = await token(b"grant_type=client_credentials", basic(f"{client_id}:{secret}"))
    assert good.status == 200
    assert good.headers["Cache-Control"] == "no-store"
    assert (good.json["token_type"], good.json["scope"]) == ("Bearer", "jobs:read")
    node.api.token = good.json["access_token"]
    assert (await node.api.call("GET", "/v1/jobs")).status == 200
    refused = [
        (b"grant_type=client_credentials", basic(f"{client_id}:wrong"), 401, "invalid_client"),
        (b"grant_type=client_credentials", basic("nobody:wrong"), 401, "invalid_client"),
        (b"grant_type=client_credentials", form, 401, "invalid_client"),
        (b"grant_type=password", basic(f"{client_id}:{secret}"), 400, "unsupported_grant_type"),
        (b"", basic(f"{client_id}:{secret}"), 400, "invalid_request"),
        (b"grant_type=client_credentials&scope=admin", basic(f"{client_id}:{secret}"), 400, "invalid_scope"),
        (b"grant_type=client_credentials&grant_type=x", basic(f"{client_id}:{secret}"), 400, "invalid_request"),
        (b"grant_type=client_credentials&client_id=%00&client_secret=x", form, 400, "invalid_request"),
    ]
    for data, headers, status, error in refused:
        answer = await token(data, headers)
        assert (data, answer.status, answer.json["error"]) == (data, status, error)
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/oauth/jwks.json", "/.well-known/oauth-authorization-server"])
async def test_o8_keys_are_published_without_private_parts(node: Node, path: str) -> None:
    """O8: the JWK set has public members only, and the metadata leads to it."""
    document = (await node.api.call("GET", path)).json
    if "keys" in document:
        assert all(set(key) <= {"kty", "n", "e", "kid", "use", "alg"} for key in document["keys"])
    else:
        assert document["jwks_uri"] == f"{node.url}/oauth/jwks.json"
        assert document["issuer"] == node.url
