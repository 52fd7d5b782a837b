"""Tokens of external issuers, verified (RFC 9068, 8725, 7519; criteria O1 to O6)."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countwheel.auth.compact import Compact, read_compact
from countwheel.auth.jwks import KeyCache, VerifyingKey
from countwheel.auth.oauth import InvalidTokenError, audiences, check_begun, check_type, number, require
from countwheel.auth.trust import TrustedIssuer, is_name
from countwheel.clock import Clock

REMEMBERED_SECONDS = 300.0
"""How long a verified token is remembered at most: what changes at the issuer must show here."""

MAX_SUBJECT_CHARACTERS = 512

_REMEMBERED = 10_000
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash")
"""Claims that OpenID Connect gives to ID tokens alone (Core 1.0 §2, §3.3.2.11; FAPI 1.0 part 2 §5.1)."""
_OF_THE_CLIENT = ("azp", "client_id", "cid", "appid")
"""Where issuers name the client that asked for the token: OpenID Connect, RFC 9068, Okta, Entra's version 1."""
_OTHER_KINDS = frozenset({"id", "refresh", "offline", "logout", "id+jwt", "logout+jwt"})
"""What `typ` may say, in the header or, as Keycloak has it, among the claims, of a token that opens nothing."""
_NO_ID_TOKENS = "an ID token opens nothing: send an access token"


@dataclass(frozen=True, slots=True)
class ExternalIdentity:
    """For whom an external issuer has vouched, and what that is worth here by its settings."""

    issuer: str
    subject: str
    audience: str
    """Which of our names the token is for."""
    tenant: str | None
    """A tenant's name; None where no claim gives one."""
    scopes: frozenset[str]
    expires_at: float
    """Seconds since 1970, the leeway not included."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    identity: ExternalIdentity
    key: VerifyingKey
    until: float


class ExternalVerifier:
    """Verifies the tokens of one external issuer."""

    def __init__(self, issuer: TrustedIssuer, keys: KeyCache, clock: Clock) -> None:
        self._issuer = issuer
        self._keys = keys
        self._clock = clock
        self._verified: OrderedDict[bytes, _Remembered] = OrderedDict()

    async def verify(self, token: str) -> ExternalIdentity:
        """Return for whom the token stands.

        Raises `InvalidTokenError`, whatever is wrong with it, and `IssuerUnavailableError` where that cannot be known.
        """
        now = self._clock.now().timestamp()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is None or now >= known.until or not self._keys.holds(known.key):
            self._verified.pop(digest, None)
            known = await self._verify(token, now)
            self._verified[digest] = known
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return known.identity

    async def _verify(self, token: str, now: float) -> _Remembered:
        try:
            compact = read_compact(token)
        except ValueError as error:
            raise InvalidTokenError(str(error)) from error
        require(compact.algorithm in self._issuer.algorithms, "the token's algorithm is not allowed for its issuer")
        _check_is_access_token(self._issuer, compact.header, compact.claims)
        # By our own key ids alone: jku, x5u, x5c and jwk in a header are never followed.
        keys = await self._keys.find(compact.kid, compact.algorithm)
        require(bool(keys), "the token was signed with a key that its issuer does not publish")
        key = _signer(compact, keys)
        identity = judge(self._issuer, compact.claims, now)
        until = min(identity.expires_at + self._issuer.leeway_seconds, now + REMEMBERED_SECONDS)
        return _Remembered(identity, key, until)


def judge(issuer: TrustedIssuer, claims: Mapping[str, Any], now: float) -> ExternalIdentity:
    """Return whom claims stand for that the issuer has vouched for. Raises `InvalidTokenError`."""
    require(claims.get("iss") == issuer.issuer, "the token is from another issuer")
    expires_at = number(claims, "exp")
    require(now < expires_at + issuer.leeway_seconds, "the token has expired")
    check_begun(claims, now + issuer.leeway_seconds)
    return identity_of(issuer, claims, claims.get("sub"), expires_at)


def identity_of(
    issuer: TrustedIssuer, claims: Mapping[str, Any], subject: object, expires_at: float
) -> ExternalIdentity:
    """Return what claims that hold now say of a subject. Raises `InvalidTokenError`."""
    meant = audiences(claims.get("aud"))
    audience = next((ours for ours in issuer.audiences if ours in meant), None)
    if audience is None:
        raise InvalidTokenError("the token is for another audience")
    if not isinstance(subject, str) or not is_name(subject, MAX_SUBJECT_CHARACTERS):
        raise InvalidTokenError("the token names no subject")
    # RFC 7800: such a token is worth nothing without a proof of possession, which bearers do not give.
    require("cnf" not in claims, "the token is bound to a key of its owner's: send one that is not")
    mapping = issuer.mapping
    require(mapping.meets_requirements(claims), "the token lacks a claim that is required of its issuer's tokens here")
    return ExternalIdentity(
        issuer.issuer, subject, audience, mapping.tenant_of(claims), mapping.scopes_of(claims), expires_at
    )


def check_kind(*types: object) -> None:
    """Raise `InvalidTokenError` where a `typ` says that the token is of a kind that opens nothing."""
    for kind in types:
        known = isinstance(kind, str) and kind.lower().removeprefix("application/") in _OTHER_KINDS
        require(not known, "not an access token")


def _check_is_access_token(issuer: TrustedIssuer, header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Tell access tokens from the issuer's other ones (RFC 8725 §3.11; criterion O6).

    Where an issuer's `typ` tells nothing, an ID token is known by what only ID tokens have: claims about the log-in
    that it reports, or an audience that is the client itself with no scope beside it.
    """
    if issuer.token_types is not None:
        check_type(header, issuer.token_types)
    check_kind(header.get("typ"), claims.get("typ"))
    require(not any(name in claims for name in _OF_ID_TOKENS), _NO_ID_TOKENS)
    client = next((claims[name] for name in _OF_THE_CLIENT if name in claims), None)
    is_for_client_alone = client is not None and claims.get("aud") in (client, [client])
    require("scope" in claims or "scp" in claims or not is_for_client_alone, _NO_ID_TOKENS)


def _signer(compact: Compact, keys: tuple[VerifyingKey, ...]) -> VerifyingKey:
    for candidate in keys:
        if compact.is_signed_by(candidate.key):
            return candidate
    raise InvalidTokenError("the token's signature is wrong")
