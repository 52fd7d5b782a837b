"""O2, O3, O4: which of an issuer's keys are used, how often they are asked for, and how long they serve."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_issuer import EC, OTHER, RSA, FakeIssuer, public
from forge import rs256
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from countwheel.auth.bearer import BearerTokens, Federation
from countwheel.auth.federation import ExternalIdentity
from countwheel.auth.fetching import FetchError, IssuerUnavailableError
from countwheel.auth.jwks import (
    ASYMMETRIC_ALGORITHMS,
    COOLDOWN_SECONDS,
    MAX_AGE_SECONDS,
    REFRESH_SECONDS,
    KeyCache,
    usable_keys,
)
from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import new_signing_key
from countwheel.auth.oauth import InvalidTokenError, TokenVerifier
from countwheel.auth.trust_file import read_issuers
from countwheel.testing import FakeClock

START = datetime(2026, 11, 25, tzinfo=UTC)
NOW = START.timestamp()
ALLOWED = frozenset({"RS256", "ES256"})
OWN = new_signing_key(START)


class Published:
    """A JWK set that a test changes, and which may be out of reach."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.is_down = False
        self.fetches = 0
        self.fetched = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()

    async def fetch(self) -> object:
        self.fetches += 1
        self.fetched.set()
        await self.held.wait()
        if self.is_down:
            raise FetchError("down")
        return {"keys": [public(key) for key in self.keys]}


def trusting(issuer: FakeIssuer, folder: Path, clock: FakeClock, extra: str = "") -> BearerTokens:
    """Verify by the settings of an issuer; its keys are not kept fresh by themselves."""
    file = folder / "issuers.toml"
    file.write_text(issuer.settings(extra))
    federation = Federation(read_issuers(file, own_issuer="https://own.example"), clock)
    return BearerTokens(TokenVerifier("https://own.example", "countwheel", KeyRing([OWN]), clock), federation)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


async def test_o3_a_thousand_kids_cause_two_fetches_at_most(
    issuer: FakeIssuer, tmp_path: Path, clock: FakeClock
) -> None:
    """O3: 1,000 tokens with as many unknown key ids, at once and one by one, ask the issuer once; later once more."""
    bearer = trusting(issuer, tmp_path, clock)
    tokens = [issuer.sign(issuer.claims(NOW), rs256(OTHER), kid=f"kid-{number}") for number in range(1000)]
    found = await asyncio.gather(*map(bearer.verify, tokens[:500]), return_exceptions=True)
    assert {type(error) for error in found} == {InvalidTokenError}
    for token in tokens[500:]:
        with pytest.raises(InvalidTokenError):
            await bearer.verify(token)
    assert issuer.asked["/keys"] == 1
    clock.advance(COOLDOWN_SECONDS)
    await asyncio.gather(*map(bearer.verify, tokens), return_exceptions=True)
    assert issuer.asked["/keys"] == 2
    assert isinstance(await bearer.verify(issuer.sign(issuer.claims(NOW), rs256(RSA))), ExternalIdentity)


async def test_o3_a_fetch_that_fails_is_one_too(clock: FakeClock) -> None:
    """O3: an issuer that is away is asked once a cooldown, however many come; O4: nobody can say then, so no 401."""
    published = Published(RSA)
    published.is_down = True
    cache = KeyCache("issuer", published.fetch, ALLOWED, clock)
    for _ in range(10):
        with pytest.raises(IssuerUnavailableError):
            await cache.find("rsa", "RS256")
    assert published.fetches == 1
    published.is_down = False
    clock.advance(COOLDOWN_SECONDS)
    assert len(await cache.find("rsa", "RS256")) == 1


async def test_o3_who_goes_away_does_not_stop_the_fetch_for_others(clock: FakeClock) -> None:
    """O3: many wait for one fetch; the one that began it is cancelled, and the others get their key."""
    published = Published(RSA)
    published.held.clear()
    cache = KeyCache("issuer", published.fetch, ALLOWED, clock)
    first = asyncio.create_task(cache.find("rsa", "RS256"))
    await published.fetched.wait()
    second = asyncio.create_task(cache.find("rsa", "RS256"))
    first.cancel()
    await asyncio.wait({first})
    published.held.set()
    assert len(await second) == 1
    assert published.fetches == 1


async def test_o4_the_last_good_keys_serve_for_a_day(clock: FakeClock) -> None:
    """O4: with the JWKS out of reach known keys serve until they are a day old; a new fetch revives them."""
    published = Published(RSA)
    cache = KeyCache("issuer", published.fetch, ALLOWED, clock)
    await cache.refresh()
    published.is_down = True
    clock.advance(MAX_AGE_SECONDS - 1)
    assert not await cache.refresh()
    (key,) = await cache.find("rsa", "RS256")
    assert cache.holds(key)
    clock.advance(1)
    assert not cache.holds(key)
    with pytest.raises(IssuerUnavailableError, match="again"):
        await cache.find("rsa", "RS256")
    published.is_down = False
    clock.advance(COOLDOWN_SECONDS)
    assert await cache.find("rsa", "RS256") == (key,)


async def test_o4_a_document_that_is_no_key_set_changes_nothing(clock: FakeClock) -> None:
    """O4: an error page with status 200 does not take the keys away."""
    documents: list[object] = [{"keys": [public(RSA)]}, {"error": "maintenance"}, [], {"keys": {}}, None]

    async def fetch() -> object:
        return documents.pop(0)

    cache = KeyCache("issuer", fetch, ALLOWED, clock)
    while documents:
        await cache.refresh()
        assert len(await cache.find("rsa", "RS256")) == 1


async def test_o4_keys_rotate(issuer: FakeIssuer, tmp_path: Path, clock: FakeClock) -> None:
    """O4: a new key works at once, found by its id; a removed one opens nothing after the next refresh."""
    bearer = trusting(issuer, tmp_path, clock)
    old = issuer.sign(issuer.claims(NOW), rs256(RSA))
    await bearer.verify(old)
    issuer.keys = [public(OTHER)]
    clock.advance(COOLDOWN_SECONDS)
    assert await bearer.verify(old)
    new = issuer.sign(issuer.claims(NOW), rs256(OTHER), kid="other")
    assert await bearer.verify(new)
    with pytest.raises(InvalidTokenError, match="does not publish"):
        await bearer.verify(old)


class EnoughSeenError(Exception):
    """Ends what never ends."""


class CountedNaps(FakeClock):
    """A clock that notes how long it is slept by it, and lets the issuer go away and come back meanwhile."""

    def __init__(self, published: Published, outages: list[bool]) -> None:
        super().__init__(START)
        self._published = published
        self._outages = outages
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        if not self._outages:
            raise EnoughSeenError
        self._published.is_down = self._outages.pop(0)


async def test_o4_keys_are_fetched_without_being_asked_for() -> None:
    """O4: every ten minutes, and half a minute after a failure, for as long as the server runs."""
    published = Published(RSA)
    clock = CountedNaps(published, [False, True, True, False])
    with pytest.raises(EnoughSeenError):
        await KeyCache("issuer", published.fetch, ALLOWED, clock).keep_fresh()
    assert clock.naps == [REFRESH_SECONDS, REFRESH_SECONDS, COOLDOWN_SECONDS, COOLDOWN_SECONDS, REFRESH_SECONDS]
    assert published.fetches == len(clock.naps)


async def test_o4_the_node_keeps_keys_fresh_from_its_start(
    issuer: FakeIssuer, tmp_path: Path, clock: FakeClock
) -> None:
    """O4: the background begins when the federation is entered and has ended when it is left."""
    file = tmp_path / "issuers.toml"
    file.write_text(issuer.settings())
    async with Federation(read_issuers(file, own_issuer="https://own.example"), clock) as federation:
        verifier = federation.verifier_of(issuer.sign(issuer.claims(NOW), rs256(RSA)))
        assert verifier is not None
        assert await verifier.verify(issuer.sign(issuer.claims(NOW), rs256(RSA)))
        assert issuer.asked["/keys"] == 1
    assert [task for task in asyncio.all_tasks() if "keep_fresh" in repr(task)] == []


def altered(key: Any, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in public(key, **changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("name", "entry", "algorithms"),
    [
        ("RSA", altered(RSA), {"RS256"}),
        ("RSA for one algorithm", altered(RSA, alg="RS256"), {"RS256"}),
        ("EC", altered(EC), {"ES256"}),
        ("for signatures", altered(RSA, use="sig", key_ops=["verify"]), {"RS256"}),
        ("RSA for PS256 alone", altered(RSA, alg="PS256"), set()),
        ("for encryption", altered(RSA, use="enc"), set()),
        ("for signing, not verifying", altered(RSA, key_ops=["sign"]), set()),
        ("key_ops no list", altered(RSA, key_ops="verify"), set()),
        ("no kid", altered(RSA, kid=...), set()),
        ("kid no text", altered(RSA, kid=1), set()),
        ("a secret", {"kty": "oct", "k": "a2V5", "kid": "x"}, set()),
        ("a secret that says RS256", {"kty": "oct", "k": "a2V5", "kid": "x", "alg": "RS256"}, set()),
        ("private", {**RSA.as_dict(private=True), "kid": "rsa"}, set()),
        ("another curve", public(ECKey.generate_key("P-384", {"kid": "x"})), set()),
        ("a curve for coins", public(ECKey.generate_key("secp256k1", {"kid": "x"}), crv="P-256"), set()),
        ("a point off the curve", altered(EC, y=public(EC)["x"]), set()),
        ("no curve", altered(EC, crv=...), set()),
        ("Ed25519, not allowed", public(OKPKey.generate_key("Ed25519", {"kid": "x"})), set()),
        ("exponent 1", altered(RSA, e="AQ"), set()),
        ("exponent of 65 bits", altered(RSA, e="AQAAAAAAAAAB"), set()),
        ("even exponent", altered(RSA, e="Ag"), set()),
        ("endless exponent", altered(RSA, e=public(RSA)["n"]), set()),
        ("modulus too short", altered(RSA, n=public(RSA)["n"][:172]), set()),
        ("modulus endless", altered(RSA, n="_" * 20_000), set()),
        ("modulus no text", altered(RSA, n=5), set()),
        ("modulus no base64", altered(RSA, n="!"), set()),
        ("no modulus", altered(RSA, n=...), set()),
        ("no key type", altered(RSA, kty=...), set()),
        ("key type a list", altered(RSA, kty=["RSA"]), set()),
        ("no object", "key", set()),
        ("nothing", None, set()),
    ],
)
def test_o2_a_key_verifies_what_it_is_for(name: str, entry: Any, algorithms: set[str]) -> None:
    """O2: by type, curve, size, use and algorithm; what is wrong is left out, and the other keys stay."""
    del name
    table = usable_keys({"keys": [entry, public(RSA, kid="beside")]}, ALLOWED)
    assert {algorithm for kid, algorithm in table if kid != "beside"} == algorithms
    assert ("beside", "RS256") in table


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
MEMBERS = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e", "k", "d", "oth", "x5c"])
ENTRIES = st.builds(
    lambda key, changes: {**public(key), **changes},
    st.sampled_from([RSA, EC, OKPKey.generate_key("Ed25519", {"kid": "ed"})]),
    st.dictionaries(MEMBERS, JSON | st.text("ABCxyz019-_=", max_size=400), max_size=3),
)


@given(JSON | st.lists(ENTRIES | JSON, max_size=4))
def test_o2_no_key_set_breaks_the_choice(keys: Any) -> None:
    """O2: whatever an issuer publishes, keys come of it, or a fault of the document, never an error of ours."""
    for document in (keys, {"keys": keys}):
        try:
            table = usable_keys(document, ASYMMETRIC_ALGORITHMS)
        except FetchError:
            continue
        assert {algorithm for _, algorithm in table} <= ASYMMETRIC_ALGORITHMS


def test_o2_two_keys_of_one_id_are_both_tried() -> None:
    """O2: what an issuer publishes twice is one key; what it publishes under one id is two, up to a bound."""
    table = usable_keys({"keys": [public(RSA), public(RSA), public(OTHER, kid="rsa")]}, ALLOWED)
    assert len(table["rsa", "RS256"]) == 2
    many = [public(RSAKey.generate_key(2048), kid="rsa") for _ in range(6)]
    assert len(usable_keys({"keys": many}, ALLOWED)["rsa", "RS256"]) == 4


async def test_o2_every_allowed_algorithm_verifies(issuer: FakeIssuer, tmp_path: Path, clock: FakeClock) -> None:
    """O2: each asymmetric algorithm works when it is allowed, with joserfc's own signatures, and only then."""
    keys = {
        "RSA": RSA,
        "ES256": EC,
        "ES384": ECKey.generate_key("P-384"),
        "ES512": ECKey.generate_key("P-521"),
        "Ed25519": OKPKey.generate_key("Ed25519"),
    }
    issuer.keys = [public(key, kid=name) for name, key in keys.items()]
    names = sorted(ASYMMETRIC_ALGORITHMS)
    bearer = trusting(issuer, tmp_path, clock, f"algorithms = {names}")
    for name in names:
        kid = "RSA" if name[1] == "S" and name[0] in "RP" else name.replace("EdDSA", "Ed25519")
        model = JWSRegistry.algorithms[name]
        token = issuer.sign(issuer.claims(NOW), lambda text, m=model, k=keys[kid]: m.sign(text, k), alg=name, kid=kid)
        assert await bearer.verify(token)
