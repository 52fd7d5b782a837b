"""The table of attacks on signed tokens: each makes a token that must open nothing, from what a right one is made of.

Sources: RFC 8725, RFC 7515 §10, the public lists of faults of JWT libraries (`alg` confusion, `none`, `kid` injection,
embedded keys, CVE-2022-21449, CVE-2018-0114, CVE-2015-9235), and OpenID Connect's mix-ups of token types.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from forge import Sign, as_json, ecdsa, encoded, es256, ps256, rs256, token
from joserfc import jwe
from joserfc.jwk import ECKey, RSAKey

THEIRS = RSAKey.generate_key(2048, {"kid": "theirs"})
"""The attacker's key."""
_CURVE = ECKey.generate_key("P-256", {"kid": "theirs-ec"})
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Mark:
    """What the attacker has before them: an issuer with its key (for what only it could sign), and a right token."""

    key: RSAKey
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    now: int
    trap: str = "https://attacker.invalid"

    def token(self, header: Any = None, claims: Any = None, sign: Sign | None = None) -> str:
        """A token, right but for what is given."""
        whole_header = self.header if header is None else header
        whole_claims = self.claims if claims is None else claims
        return token(whole_header, whole_claims, sign or rs256(self.key))

    def with_header(self, sign: Sign | None = None, **changes: Any) -> str:
        """A token with a changed header; `...` leaves a member out."""
        return self.token(header=changed(self.header, changes), sign=sign)

    def with_claims(self, **changes: Any) -> str:
        """A token with changed claims, signed by the issuer itself; `...` leaves one out."""
        return self.token(claims=changed(self.claims, changes))

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])


Attack = Callable[[Mark], str]


def changed(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def hmac_with(secret: Callable[[RSAKey], bytes], digest: str) -> Attack:
    def attack(mark: Mark) -> str:
        name = {"sha256": "HS256", "sha384": "HS384", "sha512": "HS512"}[digest]
        return mark.with_header(lambda text: hmac.digest(secret(mark.key), text, digest), alg=name)

    return attack


def pem(key: RSAKey) -> bytes:
    return key.as_pem(private=False)


def jwk(key: RSAKey) -> bytes:
    return json.dumps(key.as_dict(private=False)).encode()


def no_signature(alg: Any) -> Attack:
    def attack(mark: Mark) -> str:
        return mark.with_header(lambda _: b"", alg=alg)

    return attack


def header(sign: Sign | None = None, **changes: Any) -> Attack:
    return lambda mark: mark.with_header(sign, **changes)


def claims(**changes: Any) -> Attack:
    return lambda mark: mark.with_claims(**changes)


def claims_at(name: str, offset: float) -> Attack:
    return lambda mark: mark.with_claims(**{name: mark.now + offset})


def raw_claims(edit: Callable[[bytes], bytes]) -> Attack:
    """The claims as bytes, signed by the issuer itself."""
    return lambda mark: mark.token(claims=edit(as_json(dict(mark.claims))))


def another_exp(number: bytes) -> Attack:
    return lambda mark: mark.token(
        claims=as_json(changed(mark.claims, {"exp": ...}))[:-1] + b', "exp": ' + number + b"}"
    )


def raw_header(edit: Callable[[bytes], bytes]) -> Attack:
    return lambda mark: mark.token(header=edit(as_json(dict(mark.header))))


def text(edit: Callable[[str], str]) -> Attack:
    """A right token, changed as text."""
    return lambda mark: edit(mark.token())


def twice(name: str, value: str) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:-1] + f', "{name}": "{value}"}}'.encode()


def not_canonical(whole: str) -> str:
    """The last character with other left-over bits: most decoders return the same signature."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(whole.rpartition(".")[2]) % 4 == 2
    return whole[:-1] + alphabet[alphabet.index(whole[-1]) | 1]


def flipped(whole: str) -> str:
    start, _, signature = whole.rpartition(".")
    return f"{start}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def flattened(mark: Mark) -> str:
    protected, payload, signature = mark.token().split(".")
    return json.dumps({"protected": protected, "payload": payload, "signature": signature}, separators=(",", ":"))


def general(mark: Mark) -> str:
    protected, payload, signature = mark.token().split(".")
    return json.dumps(
        {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}, separators=(",", ":")
    )


def encrypted(mark: Mark) -> str:
    """A JWE for the issuer's own public key, which everybody has, with right claims inside."""
    public = RSAKey.import_key({**mark.key.as_dict(private=False)})
    kinds = {"alg": "RSA-OAEP", "enc": "A256GCM", "typ": "at+jwt", "kid": mark.header["kid"]}
    return jwe.encrypt_compact(kinds, as_json(dict(mark.claims)), public)


def chosen(r: int, s: int) -> Sign:
    return lambda _: r.to_bytes(32, "big") + s.to_bytes(32, "big")


def der(message: bytes) -> bytes:
    assert isinstance(_CURVE.private_key, ec.EllipticCurvePrivateKey)
    return _CURVE.private_key.sign(message, ec.ECDSA(hashes.SHA256()))


def embedded(name: str, value: Callable[[Mark], Any]) -> Attack:
    """Signed by the attacker, with their key in the header, under its own id and under the issuer's."""
    return lambda mark: mark.with_header(rs256(THEIRS), **{name: value(mark)})


def their_jwk() -> dict[str, Any]:
    return {**THEIRS.as_dict(private=False)}


ATTACKS: dict[str, Attack] = {
    # The algorithm.
    "HS256 with the public key in PEM": hmac_with(pem, "sha256"),
    "HS384 with the public key in PEM": hmac_with(pem, "sha384"),
    "HS512 with the public key in PEM": hmac_with(pem, "sha512"),
    "HS256 with PEM, no last newline": hmac_with(lambda key: pem(key).strip(), "sha256"),
    "HS256 with the public key as JWK": hmac_with(jwk, "sha256"),
    "HS256 with the modulus": hmac_with(lambda key: str(key.as_dict(private=False)["n"]).encode(), "sha256"),
    "HS256 with the kid": lambda mark: hmac_with(lambda _: str(mark.header["kid"]).encode(), "sha256")(mark),
    "HS256 with no secret": hmac_with(lambda _: b"", "sha256"),
    **{f"alg {alg}": no_signature(alg) for alg in ("none", "None", "NONE", "nOnE", "none ", "")},
    "alg none, signature kept": lambda mark: mark.with_header(alg="none"),
    "no alg": no_signature(...),
    "alg null": no_signature(None),
    "alg in a list": header(alg=["RS256"]),
    "alg in lower case": header(alg="rs256"),
    "PS256 where RS256 is allowed": lambda mark: mark.with_header(ps256(mark.key), alg="PS256"),
    "RS256 said, PS256 made": lambda mark: mark.with_header(ps256(mark.key)),
    "RS512 said": header(alg="RS512"),
    "ES256K said": header(alg="ES256K"),
    "dir said": header(alg="dir"),
    # The signature.
    "empty signature": text(lambda whole: whole.rpartition(".")[0] + "."),
    "stripped signature": text(lambda whole: whole.rpartition(".")[0]),
    "signature of another message": lambda mark: (
        mark.token().rpartition(".")[0] + "." + mark.with_claims(jti="2").rpartition(".")[2]
    ),
    "one bit of the signature": text(flipped),
    "half a signature": text(lambda whole: whole[: -len(whole.rpartition(".")[2]) // 2]),
    "signature all zero": lambda mark: mark.token(sign=lambda _: bytes(256)),
    "signature of one": lambda mark: mark.token(sign=lambda _: bytes(255) + b"\x01"),
    "bytes after the signature": lambda mark: mark.token(sign=lambda message: rs256(mark.key)(message) + b"\x00"),
    "the attacker's key under the issuer's kid": lambda mark: mark.token(sign=rs256(THEIRS)),
    "the attacker's key under its own kid": header(rs256(THEIRS), kid="theirs"),
    "ES256 with r and s zero": header(chosen(0, 0), alg="ES256", kid="ec"),
    "ES256 with r and s the order": header(chosen(_ORDER, _ORDER), alg="ES256", kid="ec"),
    "ES256 with r one and s zero": header(chosen(1, 0), alg="ES256", kid="ec"),
    "ES256 of the attacker": header(es256(_CURVE), alg="ES256", kid="ec"),
    "ES256 in DER": header(der, alg="ES256", kid="ec"),
    "ES256 under an RSA kid": lambda mark: mark.with_header(es256(_CURVE), alg="ES256"),
    "RS256 under an EC kid": header(kid="ec"),
    "ES384 where it is not allowed": header(
        ecdsa(ECKey.generate_key("P-384"), hashes.SHA384(), size=48), alg="ES384", kid="ec"
    ),
    # The key's id.
    **{
        f"kid {kid!r}": header(lambda message: hmac.digest(b"", message, "sha256"), kid=kid, alg="HS256")
        for kid in ("../../../../../../dev/null", "/dev/null", "x' UNION SELECT 'secret", "| id", "http://127.0.0.1/k")
    },
    **{
        f"kid {str(kid)[:40]!r}, RS256": header(rs256(THEIRS), kid=kid)
        for kid in (
            "../keys",
            "' OR '1'='1",
            "",
            " rsa",
            "rsa\x00",
            "RSA",
            "k" * 3000,
            "é",
            "\ud800",
            None,
            0,
            1.5,
            True,
        )
    },
    "kid a list": lambda mark: mark.with_header(kid=[mark.header["kid"]]),
    "kid an object": lambda mark: mark.with_header(kid={"kid": mark.header["kid"]}),
    "no kid": header(kid=...),
    # Keys that come with the token.
    "jwk": embedded("jwk", lambda _: their_jwk()),
    "jwk under its own kid": header(rs256(THEIRS), kid="theirs", jwk=their_jwk()),
    "jwk under no kid": header(rs256(THEIRS), kid=..., jwk=their_jwk()),
    "jku": embedded("jku", lambda mark: f"{mark.trap}/keys"),
    "jku under its own kid": lambda mark: mark.with_header(rs256(THEIRS), kid="theirs", jku=f"{mark.trap}/keys"),
    "jku by user name": embedded("jku", lambda mark: f"{mark.issuer}@attacker.invalid/keys"),
    "x5u": embedded("x5u", lambda mark: f"{mark.trap}/chain.pem"),
    "x5c": embedded("x5c", lambda _: ["MIIBszCCARygAwIBAgIBATANBgkqhkiG9w0BAQsFADA="]),
    "x5t": embedded("x5t", lambda _: encoded(hashlib.sha1(b"theirs").digest())),
    # What else a header can say.
    "crit unknown": header(crit=["x"], x=1),
    "crit of what is known": header(crit=["exp"]),
    "crit empty": header(crit=[]),
    "b64 false with crit": header(crit=["b64"], b64=False),
    "b64 false without crit": header(b64=False),
    "typ of an ID token": header(typ="JWT"),
    "typ of a client assertion": header(typ="client-authentication+jwt"),
    "typ of a DPoP proof": header(typ="dpop+jwt"),
    "typ in a list": header(typ=["at+jwt"]),
    "typ with something after it": header(typ="at+jwt;x"),
    "no typ": header(typ=...),
    "header a list": raw_header(lambda _: b"[]"),
    "header a text": raw_header(lambda _: b'"RS256"'),
    "header with alg twice": raw_header(twice("alg", "RS256")),
    "header with kid twice": raw_header(twice("kid", "rsa")),
    "header no JSON": raw_header(lambda _: b"{alg: RS256}"),
    # Who it is from, whom it is for, whom it is about.
    "iss of nobody": claims(iss="https://attacker.invalid"),
    "iss with a slash": lambda mark: mark.with_claims(iss=mark.issuer + "/"),
    "iss with something after it": lambda mark: mark.with_claims(iss=mark.issuer + ".attacker.invalid"),
    "iss in upper case": lambda mark: mark.with_claims(iss=mark.issuer.upper()),
    "iss in a list": lambda mark: mark.with_claims(iss=[mark.issuer]),
    "iss an object": lambda mark: mark.with_claims(iss={"iss": mark.issuer}),
    "no iss": claims(iss=...),
    "iss null": claims(iss=None),
    "aud of another": claims(aud="other"),
    "aud longer than ours": claims(aud="countwheel2"),
    "aud in upper case": claims(aud="COUNTWHEEL"),
    "aud with a space": claims(aud="other countwheel"),
    "aud in a list in a list": claims(aud=[["countwheel"]]),
    "aud an object": claims(aud={"countwheel": 1}),
    "aud an empty list": claims(aud=[]),
    "no aud": claims(aud=...),
    "sub in a list": claims(sub=["somebody"]),
    "sub an object": claims(sub={"sub": "somebody"}),
    "sub a number": claims(sub=1),
    "sub empty": claims(sub=""),
    "sub null": claims(sub=None),
    "no sub": claims(sub=...),
    # When.
    "expired": claims_at("exp", -31),
    "expired long ago": claims(exp=1),
    "no exp": claims(exp=...),
    "exp null": claims(exp=None),
    "exp a text": claims(exp="99999999999"),
    "exp true": claims(exp=True),
    "exp in a list": lambda mark: mark.with_claims(exp=[mark.now + 60]),
    "exp NaN": another_exp(b"NaN"),
    "exp Infinity": another_exp(b"Infinity"),
    "exp below every number": another_exp(b"-1e999"),
    "exp of 5,000 digits": another_exp(b"9" * 5000),
    "NaN in a claim that nobody asks for": raw_claims(lambda whole: whole[:-1] + b', "x": NaN}'),
    "not yet": claims_at("nbf", 60),
    "nbf a text": claims(nbf="0"),
    "from the future": claims_at("iat", 60),
    "iat null": claims(iat=None),
    # What two readers read as two things.
    "claim twice: sub": raw_claims(twice("sub", "admin")),
    "claim twice: iss": raw_claims(lambda whole: whole[:-1] + b', "iss": "https://attacker.invalid"}'),
    "claims a list": lambda mark: mark.token(claims=b"[]"),
    "claims a text": lambda mark: mark.token(claims=b'"x"'),
    "claims null": lambda mark: mark.token(claims=b"null"),
    "claims with something after": raw_claims(lambda whole: whole + b"{}"),
    "claims with a mark of byte order": raw_claims(lambda whole: b"\xef\xbb\xbf" + whole),
    "claims in UTF-16": raw_claims(lambda whole: whole.decode().encode("utf-16")),
    "claims not UTF-8": raw_claims(lambda whole: whole[:-1] + b', "x": "\xff"}'),
    "claims cut": raw_claims(lambda whole: whole[:-1]),
    "claims nested too deeply": raw_claims(lambda whole: whole[:-1] + b', "x": ' + b"[" * 2400 + b"]" * 2400 + b"}"),
    "base64 not canonical": text(not_canonical),
    "base64 padded": text(lambda whole: whole + "=="),
    "base64 of the other alphabet": text(lambda whole: whole.replace("-", "+").replace("_", "/") + "+"),
    "a fourth part": text(lambda whole: whole + ".e30"),
    "a dot at the end": text(lambda whole: whole + "."),
    "a dot before": text(lambda whole: "." + whole),
    # Other forms.
    "flattened JSON": flattened,
    "general JSON": general,
    "JWE": encrypted,
    "JWE with nothing in it": lambda _: "e30.e30.e30.e30.e30",
    "a token in a token": lambda mark: mark.token(
        header=changed(mark.header, {"cty": "JWT"}), claims=mark.token().encode()
    ),
    "huge": claims(padding="x" * 6_200),
    "nothing signed": lambda _: "..",
    "no token": lambda _: "x",
}
"""For every issuer."""

AMONG_CLAIMS: dict[str, Attack] = {
    "ID token: nonce": claims(nonce="n"),
    "ID token: at_hash": claims(at_hash="h"),
    "ID token: c_hash": claims(c_hash="h"),
    "ID token: for the client alone": claims(scope=..., aud="countwheel", client_id="countwheel", azp="countwheel"),
    "Keycloak's ID token": claims(typ="ID"),
    "Keycloak's refresh token": claims(typ="Refresh"),
    "back-channel log-out token": header(typ="logout+jwt"),
    "bound to a key": claims(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    "sub with a line break": claims(sub="some\nbody"),
    "sub with NUL": claims(sub="some\x00body"),
    "sub a lone surrogate": claims(sub="\ud800"),
    "sub without end": claims(sub="s" * 600),
    "no tenant": claims(org=...),
    "tenant in a list": claims(org=["default"]),
    "tenant of nobody": claims(org="nobody"),
    "tenant with a line break": claims(org="default\n"),
    "a key too weak": header(kid="weak"),
    "a key for encryption": header(kid="for-encryption"),
    "a key for another algorithm": header(kid="for-rs512"),
    "a key whose private part is published": header(kid="leaked"),
    "a secret among the keys": header(lambda text: hmac.digest(b"k" * 32, text, "sha256"), alg="HS256", kid="secret"),
}
"""For an external issuer beside those."""
