"""Headers that keep browsers in bounds, and cross-origin requests, which are off unless origins are configured."""

import re
from typing import Any

import pytest

from countwheel.api.headers import SECURITY_HEADERS
from countwheel.config import SettingError, read_settings
from harness import Node, running_node

ORIGIN = "https://app.example.com"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
NO_COPY = "default-src 'none'; frame-ancestors 'none'"


def cors_headers(headers: Any) -> set[str]:
    return {name.lower() for name in headers if name.lower().startswith("access-control-")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/jobs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/livez", 200),
        ("GET", "/nothing/here", 404),
        ("DELETE", "/v1/jobs", 405),
        ("GET", "/v1/jobs?page_token=" + "a" * 9_000, 414),
    ],
)
async def test_every_answer_bears_the_security_headers(node: Node, method: str, path: str, status: int) -> None:
    """Good answers, our problems, the framework's and the protocol's: no sniffing, framing, referring; no Server."""
    answer = await node.api.call(method, path)
    assert answer.status == status
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    assert answer.headers["Content-Security-Policy"] == NO_COPY
    assert "Server" not in answer.headers
    assert "Strict-Transport-Security" not in answer.headers  # it came without TLS


async def test_pages_may_load_their_own_assets_and_nothing_else(node: Node) -> None:
    """No script and no style stands in a page, so that the policy allows none there; each asset is ours."""
    for path in ("/docs", "/docs/problems/not-found"):
        answer = await node.api.call("GET", path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        page = answer.body.decode()
        assert not re.search(r"<style|<script>|\son\w+=|style=", page)
        for asset in re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page):
            served = await node.api.call("GET", asset)
            assert (served.status, served.headers["X-Content-Type-Options"]) == (200, "nosniff")


async def test_without_origins_a_preflight_gets_no_cors_headers(node: Node) -> None:
    """Off by default: no page of another origin may call the API."""
    preflight = await node.api.call("OPTIONS", "/v1/jobs", headers=PREFLIGHT)
    assert (preflight.status, cors_headers(preflight.headers)) == (405, set())
    plain = await node.api.call("GET", "/v1/jobs", headers={"Origin": ORIGIN})
    assert (plain.status, cors_headers(plain.headers)) == (200, set())


async def test_configured_origins_may_call(dsn: str) -> None:
    """A preflight says what may be sent, without a token; an answer says what may be read."""
    async with running_node(dsn, cors_origins=(ORIGIN,)) as node:
        asked = PREFLIGHT | {"Access-Control-Request-Headers": "authorization,content-type,idempotency-key,x-amz-date"}
        preflight = await node.api.call("OPTIONS", "/v1/jobs", headers=asked)
        assert (preflight.status, preflight.body) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Credentials" not in preflight.headers
        assert "Origin" in preflight.headers["Vary"]
        answer = await node.api.call("GET", "/v1/jobs", headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        node.api.token = None
        refused = await node.api.call("GET", "/v1/jobs", headers={"Origin": ORIGIN})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)


@pytest.mark.parametrize(
    "asked",
    [
        PREFLIGHT | {"Origin": "https://evil.example"},
        PREFLIGHT | {"Origin": "null"},
        PREFLIGHT | {"Origin": ORIGIN + ".evil.example"},
        PREFLIGHT | {"Origin": "http://app.example.com"},
        PREFLIGHT | {"Access-Control-Request-Method": "TRACE"},
        PREFLIGHT | {"Access-Control-Request-Headers": "x-other"},
    ],
)
async def test_e1_other_origins_methods_and_headers_are_problems(dsn: str, asked: dict[str, str]) -> None:
    """E1: what is not allowed is a problem document, with the security headers."""
    async with running_node(dsn, cors_origins=(ORIGIN,)) as node:
        answer = await node.api.call("OPTIONS", "/v1/jobs", headers=asked)
        assert (answer.status, answer.json["status"]) == (400, 400)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Content-Security-Policy"] == NO_COPY
        assert "Access-Control-Allow-Origin" not in answer.headers
        if asked["Origin"] != ORIGIN:
            plain = await node.api.call("GET", "/v1/jobs", headers={"Origin": asked["Origin"]})
            assert "Access-Control-Allow-Origin" not in plain.headers


def test_origins_are_read_as_browsers_write_them() -> None:
    """Lower case, with commas between."""
    text = "https://App.example.com, http://localhost:3000,http://[::1]:8080"
    settings = read_settings({"COUNTWHEEL_CORS_ORIGINS": text}, development=False)
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:3000", "http://[::1]:8080")


@pytest.mark.parametrize("text", ["*", "null", "app.example.com", "https://a.example/", "https://*.example.com"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    """A star above all: no page is let in unnamed."""
    with pytest.raises(SettingError, match="COUNTWHEEL_CORS_ORIGINS: .* is not an origin; give scheme and host"):
        read_settings({"COUNTWHEEL_CORS_ORIGINS": text}, development=False)
