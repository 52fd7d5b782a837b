"""O7: opaque tokens, about which their issuer is asked (RFC 7662)."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from fake_issuer import KEYS, RSA, FakeIssuer
from forge import rs256

from countwheel.auth.bearer import Federation
from countwheel.auth.federation import ExternalIdentity
from countwheel.auth.fetching import IssuerUnavailableError, JsonFetcher
from countwheel.auth.introspection import MAX_QUESTIONS, REMEMBERED_SECONDS, Introspector
from countwheel.auth.oauth import InvalidTokenError
from countwheel.auth.trust import ClaimMapping, Introspection, TrustedIssuer
from countwheel.clock import SystemClock
from countwheel.delivery.connector import default_tls
from countwheel.testing import FakeClock
from harness import running_node

START = datetime(2026, 11, 25, tzinfo=UTC)
NOW = START.timestamp()
ASK = "/introspect"
TLS = default_tls()
ACTIVE = {
    "active": True,
    "aud": ["other", "countwheel"],
    "sub": "somebody",
    "client_id": "app",
    "scope": "jobs:read",
    "token_type": "Bearer",
    "exp": NOW + 3600,
    "iat": NOW,
    "org": "default",
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


def trusted(issuer: FakeIssuer) -> TrustedIssuer:
    asked = Introspection(issuer.origin + ASK, "count:wheel", "s e+cret")
    mapping = ClaimMapping(tenant_claim=("org",))
    return TrustedIssuer(issuer.url, ("countwheel",), mapping, introspection=asked, allow_http=True)


def introspector(issuer: FakeIssuer, clock: FakeClock, *, seconds: float = 5.0) -> Introspector:
    settings = trusted(issuer)
    assert settings.introspection is not None
    return Introspector(settings, settings.introspection, JsonFetcher(TLS, allow_http=True, seconds=seconds), clock)


async def test_o7_an_active_token_stands_for_somebody(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: the issuer is asked as RFC 7662 §2.1 and RFC 6749 §2.3.1 have it, and its answer mapped as claims are."""
    issuer.documents[ASK] = ACTIVE
    assert await introspector(issuer, clock).verify("opaque") == ExternalIdentity(
        issuer.url, "somebody", "countwheel", "default", frozenset({"jobs:read"}), NOW + 3600
    )
    ((_, headers, body),) = issuer.requests
    assert parse_qs(body.decode()) == {"token": ["opaque"], "token_type_hint": ["access_token"]}
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"count%3Awheel:s+e%2Bcret"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"active": False}, "not active"),
        ({"active": "true"}, "not active"),
        ({"active": 1}, "not active"),
        ({"active": ...}, "not active"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ...}, "another audience"),
        ({"iss": "https://attacker.example"}, "another issuer"),
        ({"exp": NOW}, "expired"),
        ({"exp": "later"}, "exp"),
        ({"nbf": NOW + 60}, "future"),
        ({"sub": ["somebody"]}, "no subject"),
        ({"sub": ..., "client_id": ...}, "no subject"),
        ({"token_type": "DPoP"}, "bearer"),
        ({"token_type": "refresh_token"}, "bearer"),
        ({"typ": "Refresh"}, "not an access token"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
    ],
)
async def test_o7_what_opens_nothing(issuer: FakeIssuer, clock: FakeClock, changes: Any, reason: str) -> None:
    """O7: not active, not for us, not now, of another kind: refused, and not asked about again for half a minute."""
    issuer.documents[ASK] = {name: value for name, value in (ACTIVE | changes).items() if value is not ...}
    asking = introspector(issuer, clock)
    for _ in range(3):
        with pytest.raises(InvalidTokenError, match=reason):
            await asking.verify("opaque")
    assert issuer.asked[ASK] == 1


@pytest.mark.parametrize("answer", [[], None, "active", b"<html>"])
async def test_o7_an_answer_that_is_none_lets_nobody_in(issuer: FakeIssuer, clock: FakeClock, answer: Any) -> None:
    """O7: whatever comes instead of an answer."""
    issuer.documents[ASK] = answer
    with pytest.raises((InvalidTokenError, IssuerUnavailableError)):
        await introspector(issuer, clock).verify("opaque")


async def test_o7_a_client_that_speaks_for_itself_has_no_sub(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: then the client is the subject; an answer without `exp` is believed as long as any."""
    issuer.documents[ASK] = {name: value for name, value in ACTIVE.items() if name not in {"sub", "exp"}}
    identity = await introspector(issuer, clock).verify("opaque")
    assert (identity.subject, identity.expires_at) == ("app", NOW + REMEMBERED_SECONDS)


async def test_o7_an_answer_is_believed_for_half_a_minute(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: a revoked token opens nothing after that, and never after its end."""
    issuer.documents[ASK] = ACTIVE
    asking = introspector(issuer, clock)
    await asking.verify("opaque")
    issuer.documents[ASK] = {"active": False}
    clock.advance(REMEMBERED_SECONDS - 1)
    await asking.verify("opaque")
    clock.advance(1)
    with pytest.raises(InvalidTokenError):
        await asking.verify("opaque")
    issuer.documents[ASK] = ACTIVE | {"exp": NOW + REMEMBERED_SECONDS + 10}
    await asking.verify("short-lived")
    clock.advance(10)
    with pytest.raises(InvalidTokenError, match="expired"):
        await asking.verify("short-lived")


async def test_o7_an_issuer_that_does_not_answer(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: away, or silent beyond the time: nobody knows, nothing is remembered, and the next one asks again."""

    async def silent(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    asking = introspector(issuer, clock, seconds=0.2)
    issuer.documents[ASK] = silent
    with pytest.raises(IssuerUnavailableError, match="again"):
        await asking.verify("opaque")
    issuer.is_down = True
    with pytest.raises(IssuerUnavailableError):
        await asking.verify("opaque")
    issuer.is_down = False
    issuer.documents[ASK] = ACTIVE
    assert await asking.verify("opaque")


async def test_o7_a_flood_of_tokens_asks_in_turn(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: however many come at once, the issuer is asked about a few at a time."""
    under_way, most = 0, 0
    all_asked, release = asyncio.Event(), asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == MAX_QUESTIONS:
            all_asked.set()
        await release.wait()
        under_way -= 1
        body = b'{"active": false}'
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    issuer.documents[ASK] = answer
    asking = introspector(issuer, clock)
    flood = asyncio.gather(*(asking.verify(f"opaque-{number}") for number in range(60)), return_exceptions=True)
    await all_asked.wait()
    for _ in range(3):  # by the time that these are answered, all that were asked before have arrived
        await JsonFetcher(TLS, allow_http=True).get(issuer.origin + KEYS)
    release.set()
    assert {type(error) for error in await flood} == {InvalidTokenError}
    assert (most, issuer.asked[ASK]) == (MAX_QUESTIONS, 60)


async def test_o7_a_flood_that_nobody_answers_ends_in_refusals(
    issuer: FakeIssuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O7: who waits for a turn waits no longer than a question may take: there is no queue to stand in for good."""
    monkeypatch.setattr("countwheel.auth.introspection.FETCH_SECONDS", 0.2)

    async def silent(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    issuer.documents[ASK] = silent
    asking = introspector(issuer, clock)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(asking.verify(f"o-{number}") for number in range(60)), return_exceptions=True)
    assert {type(error) for error in found} == {IssuerUnavailableError}
    assert issuer.asked[ASK] <= MAX_QUESTIONS * 2


def _opaque(_: FakeIssuer) -> str:
    return "2YotnFZFEjr1zCsicMWpAA"


@pytest.mark.parametrize(
    ("token", "is_asked"),
    [
        (_opaque, True),
        (lambda issuer: issuer.sign(issuer.claims(NOW), rs256(RSA)), False),
        (lambda issuer: issuer.sign(issuer.claims(NOW, iss="https://nobody.example"), rs256(RSA)), False),
    ],
)
async def test_o7_signed_tokens_are_shown_to_nobody(
    issuer: FakeIssuer, clock: FakeClock, token: Callable[[FakeIssuer], str], *, is_asked: bool
) -> None:
    """O7: the issuer is asked about opaque tokens alone: a signed one says whose it is."""
    verifier = Federation([trusted(issuer)], clock).verifier_of(token(issuer))
    assert isinstance(verifier, Introspector) is is_asked


async def test_o7_without_introspection_an_opaque_token_is_refused(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O7: off unless it is configured."""
    settings = TrustedIssuer(issuer.url, ("countwheel",), ClaimMapping(), allow_http=True)
    assert Federation([settings], clock).verifier_of("opaque") is None


async def test_o7_end_to_end(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """O7: through the API: active 200, inactive 401, its issuer away 503."""
    now = SystemClock().now().timestamp()
    (tmp_path / "secret").write_text("s\n")
    file = tmp_path / "issuers.toml"
    file.write_text(
        issuer.settings(
            f'introspection_url = "{issuer.origin}{ASK}"\nintrospection_client_id = "c"\n'
            'introspection_client_secret_file = "secret"'
        )
    )
    async with running_node(dsn, issuers_file=file) as node:
        statuses = []
        for number, answer in enumerate([ACTIVE | {"exp": now + 60, "iat": now}, {"active": False}, None]):
            issuer.documents[ASK] = answer
            headers = {"Authorization": f"Bearer opaque-{number}"}
            statuses.append((await node.api.call("GET", "/v1/jobs", headers=headers)).status)
        assert statuses == [200, 401, 503]
