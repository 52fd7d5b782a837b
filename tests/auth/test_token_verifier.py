"""O1, O2 and O6: which tokens open the door."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from countwheel.auth.clients import Client
from countwheel.auth.issuer import Issuer
from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import SigningKey, load_key, new_signing_key, public_jwks
from countwheel.auth.oauth import InvalidTokenError, TokenVerifier
from countwheel.clock import SystemChance
from countwheel.testing import FakeClock

ISSUER = "http://127.0.0.1:8080"
AUDIENCE = "countwheel"
START = datetime(2026, 11, 24, tzinfo=UTC)
TENANT = UUID(int=7)
KEY = new_signing_key(START)
OTHER = new_signing_key(START)
CLIENT = Client("client", TENANT, bytes(32), frozenset({"jobs:read", "jobs:write"}), "test")


def claims(**changes: Any) -> dict[str, Any]:
    now = int(START.timestamp())
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "client",
        "client_id": "client",
        "iat": now,
        "exp": now + 3600,
        "jti": "1",
        "scope": "jobs:read",
        "tenant": str(TENANT),
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def signed(body: Any = None, *, key: SigningKey = KEY, **header: Any) -> str:
    head = {"alg": "RS256", "typ": "at+jwt", "kid": KEY.kid} | header
    head = {name: value for name, value in head.items() if value is not ...}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims() if body is None else body))
    private = load_key(key).private_key
    return f"{text}.{encoded(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def verifier(clock: FakeClock) -> TokenVerifier:
    return TokenVerifier(ISSUER, AUDIENCE, KeyRing([KEY]), clock)


def test_o8_what_the_issuer_grants_is_accepted(clock: FakeClock, verifier: TokenVerifier) -> None:
    """O8: the token carries client, tenant and scopes, and an id of its own."""
    issuer = Issuer(ISSUER, AUDIENCE, KeyRing([KEY]), clock, SystemChance())
    grants = [issuer.grant(CLIENT, None), issuer.grant(CLIENT, "jobs:read")]
    principal = verifier.verify(grants[0].access_token)
    assert (principal.tenant_id, principal.client_id, principal.scopes) == (TENANT, "client", CLIENT.scopes)
    assert verifier.verify(grants[1].access_token).scopes == {"jobs:read"}
    decoded = [jwt.decode(grant.access_token, load_key(KEY), algorithms=["RS256"]) for grant in grants]
    assert {"iat", "jti", "scope", "client_id", "exp"} <= decoded[0].claims.keys()
    assert decoded[0].claims["jti"] != decoded[1].claims["jti"]


def test_the_hand_made_token_is_right(verifier: TokenVerifier) -> None:
    """What the attacks below start from is accepted."""
    assert verifier.verify(signed()).tenant_id == TENANT


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("another signature", lambda: signed()[:-4] + "AAAA"),
        ("another key", lambda: signed(key=OTHER)),
        ("unknown kid", lambda: signed(key=OTHER, kid=OTHER.kid)),
        ("no kid", lambda: signed(kid=...)),
        ("kid of another type", lambda: signed(kid=["a"])),
        ("typ of an ID token", lambda: signed(typ="JWT")),
        ("no typ", lambda: signed(typ=...)),
        ("typ of another type", lambda: signed(typ=["at+jwt"])),
        ("crit", lambda: signed(crit=["exp"])),
        ("unknown crit", lambda: signed(crit=["x"], x=1)),
        ("b64 false", lambda: signed(crit=["b64"], b64=False)),
        ("array alg", lambda: signed(alg=["RS256"])),
        ("PS256 said", lambda: signed(alg="PS256")),
        ("wrong issuer", lambda: signed(claims(iss=ISSUER + "/"))),
        ("array issuer", lambda: signed(claims(iss=[ISSUER]))),
        ("no issuer", lambda: signed(claims(iss=...))),
        ("wrong audience", lambda: signed(claims(aud="other"))),
        ("no audience", lambda: signed(claims(aud=...))),
        ("nested audience", lambda: signed(claims(aud=[[AUDIENCE]]))),
        ("no exp", lambda: signed(claims(exp=...))),
        ("text exp", lambda: signed(claims(exp="9999999999"))),
        ("true exp", lambda: signed(claims(exp=True))),
        ("null exp", lambda: signed(claims(exp=None))),
        ("expired", lambda: signed(claims(exp=int(START.timestamp()) - 31))),
        ("not yet", lambda: signed(claims(nbf=int(START.timestamp()) + 31))),
        ("issued in the future", lambda: signed(claims(iat=int(START.timestamp()) + 31))),
        ("array sub", lambda: signed(claims(sub=["client"]))),
        ("no sub", lambda: signed(claims(sub=...))),
        ("empty client", lambda: signed(claims(client_id=""))),
        ("no client", lambda: signed(claims(client_id=...))),
        ("no tenant", lambda: signed(claims(tenant=...))),
        ("tenant is no id", lambda: signed(claims(tenant="*"))),
        ("array scope", lambda: signed(claims(scope=["admin"]))),
        ("claims are a list", lambda: signed([1])),
        ("claims are text", lambda: signed("x")),
        ("too long", lambda: signed(claims(padding="x" * 8_192))),
        ("empty", lambda: ""),
        ("two parts", lambda: "a.b"),
        ("five parts (JWE)", lambda: "a.b.c.d.e"),
        ("white space", lambda: signed() + " "),
        ("padding", lambda: signed() + "="),
        ("not ASCII", lambda: signed() + "é"),
        ("surrogate", lambda: "\ud800"),
    ],
)
def test_o1_o2_o6_what_is_not_ours_is_refused(verifier: TokenVerifier, name: str, token: Any) -> None:
    """O1, O2, O6: each attack is refused with InvalidTokenError, the second time (cached) as well."""
    del name
    text = token()
    for _ in range(2):
        with pytest.raises(InvalidTokenError):
            verifier.verify(text)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
def test_o1_none_is_refused_in_any_case(verifier: TokenVerifier, alg: str) -> None:
    """O1: with an empty signature and with any."""
    head = encoded(json.dumps({"alg": alg, "typ": "at+jwt", "kid": KEY.kid}).encode())
    body = encoded(json.dumps(claims()).encode())
    for token in (f"{head}.{body}.", f"{head}.{body}.AA", f"{head}.{body}"):
        with pytest.raises(InvalidTokenError):
            verifier.verify(token)


def test_o2_a_public_key_is_no_hmac_secret(verifier: TokenVerifier) -> None:
    """O2: the classic: HS256 with our public key as its secret."""
    head = encoded(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": KEY.kid}).encode())
    text = f"{head}.{encoded(json.dumps(claims()).encode())}"
    public = load_key(KEY).as_pem(private=False)
    token = f"{text}.{encoded(hmac.digest(public, text.encode(), hashlib.sha256))}"
    with pytest.raises(InvalidTokenError):
        verifier.verify(token)


def test_o2_keys_in_the_header_are_not_followed(verifier: TokenVerifier) -> None:
    """O2: jwk, jku, x5u and x5c of an attacker are ignored: with our signature the token stands, with theirs not."""
    theirs = RSAKey.import_key(public_jwks([OTHER])["keys"][0]).as_dict(private=False)
    bait = {"jwk": theirs, "jku": "https://evil.example/", "x5u": "https://evil.example/", "x5c": ["AA=="]}
    for name, value in bait.items():
        with pytest.raises(InvalidTokenError):
            verifier.verify(signed(key=OTHER, **{name: value}))


def test_o6_the_leeway_is_small(clock: FakeClock, verifier: TokenVerifier) -> None:
    """O6: up to the leeway after its end a token is good, then no more, remembered or not; over 60 s is refused."""
    token = signed()
    clock.advance(3600 + 29)
    assert verifier.verify(token).client_id == "client"
    clock.advance(2)
    with pytest.raises(InvalidTokenError, match="expired"):
        verifier.verify(token)
    with pytest.raises(ValueError, match="60"):
        TokenVerifier(ISSUER, AUDIENCE, KeyRing([KEY]), clock, leeway_seconds=61)


def test_o8_keys_rotate(clock: FakeClock) -> None:
    """O8: after a new key both kinds of token are good; with the old key gone its tokens are not."""
    older, newer = replace(KEY, created_at=START - timedelta(days=2)), new_signing_key(START - timedelta(days=1))
    old_token = signed()
    issuer = Issuer(ISSUER, AUDIENCE, KeyRing([newer, older]), clock, SystemChance())
    new_token = issuer.grant(CLIENT, None).access_token
    both = TokenVerifier(ISSUER, AUDIENCE, KeyRing([older, newer]), clock)
    assert both.verify(old_token).client_id == both.verify(new_token).client_id == "client"
    assert len(issuer.jwks()["keys"]) == 2
    after = TokenVerifier(ISSUER, AUDIENCE, KeyRing([newer]), clock)
    assert after.verify(new_token).client_id == "client"
    with pytest.raises(InvalidTokenError):
        after.verify(old_token)


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,50}\.[A-Za-z0-9_-]{0,50}\.[A-Za-z0-9_-]{0,50}"))
def test_no_text_is_a_token(text: str) -> None:
    """Whatever comes, the answer is InvalidTokenError and never another error."""
    with pytest.raises(InvalidTokenError):
        TokenVerifier(ISSUER, AUDIENCE, KeyRing([KEY]), FakeClock(START)).verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(claims())), JSON)
def test_no_value_of_a_claim_breaks_the_verifier(name: str, value: Any) -> None:
    """A signed token with any value in any claim is accepted or refused, never an error of ours."""
    verifier = TokenVerifier(ISSUER, AUDIENCE, KeyRing([KEY]), FakeClock(START))
    try:
        assert verifier.verify(signed(claims(**{name: value}))).tenant_id == TENANT
    except InvalidTokenError:
        return
