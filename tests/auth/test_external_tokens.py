"""O1, O6: what a verified token of an external issuer says, how long it is remembered, and who judges which token."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession
from fake_issuer import RSA, FakeIssuer
from forge import ps256, rs256
from hypothesis import given
from hypothesis import strategies as st

from countwheel.auth.bearer import BearerTokens, Federation
from countwheel.auth.clients import Client
from countwheel.auth.compact import unverified_issuer
from countwheel.auth.federation import ExternalIdentity, ExternalVerifier, judge
from countwheel.auth.issuer import Issuer
from countwheel.auth.jwks import KeyCache
from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import new_signing_key
from countwheel.auth.oauth import InvalidTokenError, TokenVerifier
from countwheel.auth.trust import ClaimMapping, TrustedIssuer
from countwheel.clock import SystemChance, SystemClock
from countwheel.testing import FakeClock
from harness import Api, dev_server, eventually, running_node

START = datetime(2026, 11, 25, tzinfo=UTC)
NOW = START.timestamp()
OWN = "https://own.example"
OWN_KEY = new_signing_key(START)
CLIENT = Client("client", UUID(int=7), bytes(32), frozenset({"jobs:read"}), "test")


def bearer_tokens(clock: FakeClock, *issuers: TrustedIssuer) -> BearerTokens:
    return BearerTokens(TokenVerifier(OWN, "countwheel", KeyRing([OWN_KEY]), clock), Federation(issuers, clock))


def trusted(issuer: FakeIssuer, **changes: Any) -> TrustedIssuer:
    mapping = ClaimMapping(tenant_claim=("org",))
    return TrustedIssuer(issuer.url, ("countwheel",), mapping, allow_http=True, **changes)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


async def test_o1_who_an_external_token_stands_for(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O1: issuer, subject, the audience that is ours, tenant, our own scopes, and the end."""
    bearer = bearer_tokens(clock, trusted(issuer))
    claims = issuer.claims(NOW, aud=["other", "countwheel"], org="acme", scope="openid jobs:read runs:write")
    assert await bearer.verify(issuer.sign(claims, rs256(RSA))) == ExternalIdentity(
        issuer.url, "somebody", "countwheel", "acme", frozenset({"jobs:read", "runs:write"}), claims["exp"]
    )


async def test_o1_the_claimed_issuer_only_chooses_who_judges(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O1: a token of our own goes to our own verifier, and nobody is asked; one of nobody's as well."""
    bearer = bearer_tokens(clock, trusted(issuer))
    grant = Issuer(OWN, "countwheel", KeyRing([OWN_KEY]), clock, SystemChance()).grant(CLIENT, None)
    principal = await bearer.verify(grant.access_token)
    assert not isinstance(principal, ExternalIdentity)
    assert principal.tenant_id == CLIENT.tenant_id
    for stranger in (issuer.claims(NOW, iss="https://nobody.example"), issuer.claims(NOW, iss=OWN)):
        with pytest.raises(InvalidTokenError):
            await bearer.verify(issuer.sign(stranger, rs256(RSA)))
    with pytest.raises(InvalidTokenError, match="not trusted here"):
        await bearer.verify(issuer.sign(issuer.claims(NOW, iss="https://nobody.example"), rs256(RSA)))
    assert issuer.asked.total() == 0


def test_o1_our_own_tokens_wait_for_nothing(clock: FakeClock) -> None:
    """O1: the way of our own tokens ends without a turn of the event loop: there is none here."""
    grant = Issuer(OWN, "countwheel", KeyRing([OWN_KEY]), clock, SystemChance()).grant(CLIENT, None)
    with pytest.raises(StopIteration) as ended:
        bearer_tokens(clock).verify(grant.access_token).send(None)
    assert ended.value.value.client_id == "client"


async def test_o1_one_issuer_cannot_speak_for_another(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O1: two issuers with one and the same key and key id: the token of each is judged by its own settings."""
    async with FakeIssuer() as second:
        strict = TrustedIssuer(second.url, ("elsewhere",), ClaimMapping(tenant="b"), allow_http=True)
        bearer = bearer_tokens(clock, trusted(issuer), strict)
        assert await bearer.verify(issuer.sign(issuer.claims(NOW), rs256(RSA)))
        with pytest.raises(InvalidTokenError, match="audience"):
            await bearer.verify(second.sign(second.claims(NOW), rs256(RSA)))


async def test_o2_the_verifier_relies_on_nobody_before_it(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O1, O2: asked directly, it refuses another issuer and an algorithm that is not allowed all the same."""
    keys = KeyCache("issuer", lambda: _keys(issuer), frozenset({"RS256", "PS256"}), clock)
    verifier = ExternalVerifier(trusted(issuer), keys, clock)
    with pytest.raises(InvalidTokenError, match="another issuer"):
        await verifier.verify(issuer.sign(issuer.claims(NOW, iss="https://nobody.example"), rs256(RSA)))
    with pytest.raises(InvalidTokenError, match="not allowed"):
        await verifier.verify(issuer.sign(issuer.claims(NOW), ps256(RSA), alg="PS256"))


async def _keys(issuer: FakeIssuer) -> object:
    return {"keys": issuer.keys}


async def test_o6_the_leeway_is_the_issuers_own(issuer: FakeIssuer, clock: FakeClock) -> None:
    """O6: up to its end and leeway a token is good, remembered or not; likewise before it begins."""
    bearer = bearer_tokens(clock, trusted(issuer, leeway_seconds=5))
    token = issuer.sign(issuer.claims(NOW, exp=NOW + 60), rs256(RSA))
    clock.advance(64.5)
    assert await bearer.verify(token)
    clock.advance(0.5)
    with pytest.raises(InvalidTokenError, match="expired"):
        await bearer.verify(token)
    for name in ("nbf", "iat"):
        early = issuer.claims(NOW, **{name: NOW + 65 + 6})
        with pytest.raises(InvalidTokenError, match="future"):
            await bearer.verify(issuer.sign(early, rs256(RSA)))
        assert await bearer.verify(issuer.sign(early | {name: NOW + 65 + 5}, rs256(RSA)))


async def test_o4_a_verified_token_is_remembered_for_five_minutes(
    issuer: FakeIssuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O4: its signature is not verified again before, and it is after."""
    verifications = 0
    bearer = bearer_tokens(clock, trusted(issuer))
    token = issuer.sign(issuer.claims(NOW), rs256(RSA))

    def counted(*arguments: Any) -> ExternalIdentity:
        nonlocal verifications
        verifications += 1
        return judge(*arguments)

    monkeypatch.setattr("countwheel.auth.federation.judge", counted)
    for advance, expected in ((0, 1), (299, 1), (1, 2)):
        clock.advance(advance)
        await bearer.verify(token)
        assert verifications == expected


@given(st.text(max_size=50) | st.from_regex(r"[A-Za-z0-9_-]{0,50}\.[A-Za-z0-9_-]{0,50}\.[A-Za-z0-9_-]{0,50}"))
def test_no_text_breaks_the_choice_of_a_verifier(text: str) -> None:
    """Whatever comes, an issuer is seen in it or none is."""
    assert unverified_issuer(text) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = {
    "iss": "i",
    "aud": "countwheel",
    "sub": "s",
    "exp": NOW + 60,
    "iat": NOW,
    "scope": "jobs:read",
    "org": {"id": "a"},
}


@given(st.sampled_from(sorted(CLAIMS)), JSON)
def test_no_value_of_a_claim_breaks_the_judgement(name: str, value: Any) -> None:
    """Claims with any value in any place are accepted or refused, never an error of ours."""
    mapping = ClaimMapping(
        tenant_claim=("org", "id"), roles_claim=("org", "roles"), required={("aud",): frozenset({"countwheel"})}
    )
    try:
        identity = judge(TrustedIssuer("i", ("countwheel",), mapping), CLAIMS | {name: value}, NOW)
    except InvalidTokenError:
        return
    assert identity.issuer == "i"
    assert identity.subject.isprintable()


async def test_e3_an_issuer_that_is_away_is_not_the_tokens_fault(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """E3, O4: without its keys nobody knows: 503 with Retry-After and no challenge; our own tokens work on."""
    issuer.is_down = True
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings())
    async with running_node(dsn, issuers_file=file) as node:
        token = issuer.sign(issuer.claims(SystemClock().now().timestamp()), rs256(RSA))
        answer = await node.api.call("GET", "/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "WWW-Authenticate" not in answer.headers
        assert answer.json["type"].endswith("/issuer-unavailable")
        assert (await node.api.call("GET", "/v1/jobs")).status == 200


async def test_o1_o5_one_deployment_trusts_another(dsn: str, tmp_path: Path) -> None:
    """O1, O5: by our own metadata and keys, over HTTP; without trust a token of one opens nothing at the other."""
    file = tmp_path / "issuers.toml"
    async with running_node(dsn) as first:
        text = f'[[issuer]]\nissuer = "{first.url}"\naudience = "countwheel"\nallow_http = true\ntenant = "default"\n'
        file.write_text(text)
        headers = {"Authorization": f"Bearer {first.api.token}"}
        async with running_node(dsn) as stranger:
            assert (await stranger.api.call("GET", "/v1/jobs", headers=headers)).status == 401
        async with running_node(dsn, issuers_file=file) as second:
            assert (await second.api.call("GET", "/v1/jobs", headers=headers)).status == 200


async def test_o5_a_development_server_trusts_an_issuer_on_loopback(issuer: FakeIssuer, tmp_path: Path) -> None:
    """O5: `countwheel dev` as it is started, with the file in its environment, takes an issuer over plain http."""
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings().replace("allow_http = true\n", ""))
    async with dev_server(tmp_path / "data", COUNTWHEEL_ISSUERS_FILE=str(file)) as server, ClientSession() as session:
        token = issuer.sign(issuer.claims(SystemClock().now().timestamp()), rs256(RSA))
        answer = await Api(session, server.url, token).call("GET", "/v1/jobs")
        assert answer.status == 200
        assert (await Api(session, server.url, token[:-4] + "AAAA").call("GET", "/v1/jobs")).status == 401


async def test_e3_e4_what_an_external_token_may(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """E3, E4: its scopes are enforced, its tenant's jobs alone are seen, an unknown tenant is told so."""
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings('roles_claim = ["realm_access", "roles"]\nscopes = { scheduler = ["jobs:write"] }'))
    async with running_node(dsn, issuers_file=file) as node:
        await node.client(tenant="acme")
        job = await node.api.create(schedule_recurring="@daily", job_url="http://127.0.0.1:9/")

        async def call(method: str, path: str, body: Any = None, **changes: Any) -> Any:
            token = issuer.sign(issuer.claims(SystemClock().now().timestamp(), **changes), rs256(RSA))
            return await node.api.call(method, path, body, headers=[("Authorization", f"Bearer {token}")])

        assert (await call("GET", f"/v1/jobs/{job['job_id']}")).status == 200
        assert (await call("GET", f"/v1/jobs/{job['job_id']}", org="acme")).status == 404
        body = {"schedule_recurring": "@daily", "job_url": "http://127.0.0.1:9/"}
        refused = await call("POST", "/v1/jobs", body)
        assert refused.status == 403
        assert 'scope="jobs:write"' in refused.headers["WWW-Authenticate"]
        assert (await call("POST", "/v1/jobs", body, realm_access={"roles": ["scheduler"]})).status == 201
        unknown = await call("GET", "/v1/jobs", org="nobody")
        assert (unknown.status, "tenant" in unknown.json["detail"]) == (401, True)


async def test_a_subject_is_a_principal_by_exact_match(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """Issuer, subject and audience as registered: it may what is attached to the principal, and its claims give nothing
    more. Another subject or audience is whoever its claims say; a subject is one principal only.
    """
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings())
    async with running_node(dsn, issuers_file=file) as node:
        identity = {"issuer": issuer.url, "subject": "deployer", "audience": "countwheel"}
        made = await node.api.call("POST", "/v1/principals", {"name": "deployer", "identities": [identity]})
        assert (made.status, made.json["identities"]) == (201, [identity])
        again = await node.api.call("POST", "/v1/principals", {"name": "other", "identities": [identity]})
        assert again.status == 409
        reading = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "runs:List", "Resource": "*"}}
        await node.api.call("PUT", "/v1/policies/runs", {"document": reading})
        holder = {"holder": f"principals/{made.json['principal_id']}"}
        assert (await node.api.call("POST", "/v1/policies/runs/attach", holder)).status == 200

        async def asks(path: str, **claims: Any) -> int:
            said = issuer.claims(SystemClock().now().timestamp()) | claims
            api = Api(node.api.session, node.url, issuer.sign(said, rs256(RSA)))
            return (await api.call("GET", path)).status

        everything = {"scope": "jobs:read runs:read"}
        assert await asks("/v1/runs", sub="deployer", **everything) == 200
        assert await asks("/v1/jobs", sub="deployer", **everything) == 403
        assert await asks("/v1/jobs", sub="somebody", **everything) == 200
        entries = (await node.api.call("GET", "/v1/audit-log?action=jobs:List")).json["items"]
        assert [entry["principal"] for entry in entries] == [holder["holder"]]
        assert (await node.api.call("DELETE", f"/v1/{holder['holder']}")).status == 204

        async def is_nobody_of_ours() -> bool:
            return await asks("/v1/jobs", sub="deployer", **everything) == 200

        await eventually(is_nobody_of_ours, seconds=5.0)


async def test_e4_no_tenant_draws_anothers_users_to_itself(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """Whose tenant the issuer names belongs there, whoever has registered the subject: a job would end up elsewhere."""
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings())
    async with running_node(dsn, issuers_file=file) as node:
        elsewhere = await node.client(tenant="elsewhere")
        identity = {"issuer": issuer.url, "subject": "alice", "audience": "countwheel"}
        assert (await elsewhere.call("POST", "/v1/principals", {"name": "a", "identities": [identity]})).status == 201
        claims = issuer.claims(SystemClock().now().timestamp()) | {"sub": "alice", "scope": "jobs:write jobs:read"}
        alice = Api(node.api.session, node.url, issuer.sign(claims, rs256(RSA)))
        await alice.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
        seen = [len((await api.call("GET", "/v1/jobs")).json["items"]) for api in (node.api, elsewhere)]
        assert seen == [1, 0]
