"""O1, O2, O6: every attack on a signed token, end to end, is answered with 401 and the right challenge."""

import re
import warnings
from pathlib import Path

from fake_issuer import RSA, FakeIssuer, public
from forge import rs256
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey
from jwt_attacks import AMONG_CLAIMS, ATTACKS, THEIRS, Attack, Mark

from countwheel.auth import bootstrap
from countwheel.auth.keys import load_key
from countwheel.clock import SystemChance, SystemClock
from countwheel.store.sealing import Sealer
from harness import SECRET_KEY, Node, running_node, tenant_of

_CHALLENGE = re.compile(r'Bearer realm="countwheel", error="invalid_token", error_description="[^"]+"')


async def outcome(node: Node, token: str) -> tuple[int, bool]:
    """The status, and whether the challenge is right."""
    answer = await node.api.call("GET", "/v1/jobs", headers=[("Authorization", f"Bearer {token}")])
    if answer.status == 401:
        assert answer.json["status"] == 401
    return answer.status, _CHALLENGE.fullmatch(answer.headers.get("WWW-Authenticate", "")) is not None


async def let_in(node: Node, mark: Mark, attacks: dict[str, Attack]) -> dict[str, tuple[int, bool]]:
    """What was answered otherwise than with 401 and the challenge, each attack made twice; right tokens between."""
    wrong = {}
    for name, attack in attacks.items():
        token = attack(mark)
        for _ in range(2):
            found = await outcome(node, token)
            if found != (401, True):
                wrong[name] = found
    assert (await outcome(node, mark.token()))[0] == 200
    return wrong


def weak_key() -> RSAKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return RSAKey.generate_key(1024, {"kid": "weak"})


async def test_o1_o2_o6_no_attack_on_our_own_tokens_gets_in(node: Node) -> None:
    """O1, O2, O6: our own issuer's tokens, and every one of the attacks on them."""
    keys = await bootstrap.ensure_issuer_keys(node.database, Sealer(SECRET_KEY, SystemChance()), SystemClock().now())
    client, _secret = await bootstrap.create_client(node.database, SystemChance(), name="somebody")
    now = int(SystemClock().now().timestamp())
    claims = {
        "iss": node.url,
        "aud": "countwheel",
        "sub": client,
        "client_id": client,
        "iat": now,
        "exp": now + 3600,
        "jti": "1",
        "scope": "jobs:read",
        "tenant": str(await tenant_of(node, node.api)),
    }
    header = {"alg": "RS256", "typ": "at+jwt", "kid": keys[-1].kid}
    mark = Mark(load_key(keys[-1]), header, claims, now)
    assert (await outcome(node, mark.token()))[0] == 200
    assert await let_in(node, mark, ATTACKS) == {}


async def test_o1_o2_o3_o6_no_attack_on_an_issuers_tokens_gets_in(dsn: str, issuer: FakeIssuer, tmp_path: Path) -> None:
    """O1, O2, O3, O6: an external issuer's tokens, every attack on them, and the keys asked for at most twice."""
    weak, leaked = weak_key(), RSAKey.generate_key(2048, {"kid": "leaked"})
    issuer.keys += [
        public(weak),
        public(RSA, kid="for-encryption", use="enc"),
        public(RSA, kid="for-rs512", alg="RS512"),
        {**leaked.as_dict(private=True)},
        {"kty": "oct", "kid": "secret", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s", "alg": "HS256"},
    ]
    signers = {"weak": weak, "leaked": leaked}
    async with FakeIssuer() as attacker:
        attacker.keys = [public(THEIRS)]
        file = tmp_path / "issuers.toml"
        # The attacker's issuer is trusted, too, for a tenant of its own: it must not speak for the other one.
        file.write_text(issuer.settings() + attacker.settings())
        async with running_node(dsn, issuers_file=file) as node:
            now = int(SystemClock().now().timestamp())
            header = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}
            mark = Mark(RSA, header, issuer.claims(now), now, trap=attacker.origin)
            assert (await outcome(node, mark.token()))[0] == 200
            attacker.asked.clear()
            attacks = ATTACKS | AMONG_CLAIMS
            by_kid = {name: signed_by(signers[kid], kid) for name, kid in _BY_THEIR_OWN_KEY.items()}
            assert await let_in(node, mark, attacks | by_kid) == {}
            assert issuer.asked["/keys"] <= 2
            assert attacker.asked.total() == 0


_BY_THEIR_OWN_KEY = {"a key too weak": "weak", "a key whose private part is published": "leaked"}


def signed_by(key: RSAKey, kid: str) -> Attack:
    """A right token but for the key: it is among the issuer's, and not to be trusted."""
    return lambda mark: mark.with_header(rs256(key), kid=kid)
