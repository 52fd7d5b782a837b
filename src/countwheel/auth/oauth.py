"""Bearer tokens, verified (RFC 6750, 8725, 9068; criteria O1, O2, O6)."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from joserfc.jwk import RSAKey

from countwheel.auth.compact import Compact, read_compact
from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import ALGORITHM
from countwheel.auth.principal import parse_scope
from countwheel.clock import Clock

MAX_LEEWAY_SECONDS = 60

ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""The `typ` of an access token (RFC 9068 §4)."""

_LAST_SECOND = 253_402_300_799  # of the year 9999
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_REMEMBERED = 10_000

POLICIES_CLAIM = "policies"
"""Whether what the policies of its client allow goes with a token of our own."""


class InvalidTokenError(Exception):
    """A token that opens nothing. The text may be shown: it tells what is wrong, not what would be right."""


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """Who a token of our own stands for, and which scopes it was given."""

    tenant_id: UUID
    client_id: str
    scopes: frozenset[str]
    token_id: str | None
    with_policies: bool
    """What is attached to its client goes with it: no scope of its own was asked for."""


@dataclass(frozen=True, slots=True)
class _Verified:
    subject: TokenSubject
    expires_at: float


class TokenVerifier:
    """Verifies the tokens of our own issuer."""

    def __init__(
        self,
        issuer_url: str,
        audience: str,
        keys: KeyRing,
        clock: Clock,
        *,
        leeway_seconds: int = 30,
    ) -> None:
        """`leeway_seconds` is for clocks that differ. Raises `ValueError` over a minute (criterion O6)."""
        if not 0 <= leeway_seconds <= MAX_LEEWAY_SECONDS:
            raise ValueError(f"leeway_seconds must be from 0 to {MAX_LEEWAY_SECONDS}")
        self._issuer_url = issuer_url
        self._audience = audience
        self._keys = keys
        self._clock = clock
        self._leeway_seconds = leeway_seconds
        # What was verified once is remembered until it expires: a signature costs a hundred times a look-up.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    def verify(self, token: str) -> TokenSubject:
        """Return who the token stands for. Raises `InvalidTokenError`, whatever is wrong with it."""
        now = self._clock.now().timestamp()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._verify(token, now)
            self._verified[digest] = known
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        if now >= known.expires_at + self._leeway_seconds:
            self._verified.pop(digest, None)
            raise InvalidTokenError("the token has expired")
        return known.subject

    def _verify(self, token: str, now: float) -> _Verified:
        try:
            compact = read_compact(token)
        except ValueError as error:
            raise InvalidTokenError(str(error)) from error
        # First, because it says most to whoever has a token of an issuer that is not configured.
        require(compact.claims.get("iss") == self._issuer_url, "the token is from an issuer that is not trusted here")
        require(compact.algorithm == ALGORITHM, "the token's algorithm is not allowed")
        require(compact.is_signed_by(self._key_of(compact)), "the token's signature is wrong")
        check_type(compact.header, ACCESS_TOKEN_TYPES)
        return self._check_claims(compact.claims, now)

    def _key_of(self, compact: Compact) -> RSAKey:
        # By our own key id alone: jku, x5u, x5c and jwk in a header are never followed.
        key = self._keys.find(compact.kid)
        if key is None:
            raise InvalidTokenError("the token was signed with a key that is not known here")
        return key

    def _check_claims(self, claims: dict[str, Any], now: float) -> _Verified:
        require(self._audience in audiences(claims.get("aud")), "the token is for another audience")
        expires_at = number(claims, "exp")
        check_begun(claims, now + self._leeway_seconds)
        client_id, subject = claims.get("client_id"), claims.get("sub")
        require(is_text(client_id) and is_text(subject), "the token names no client")
        tenant, scope = claims.get("tenant"), claims.get("scope", "")
        require(isinstance(tenant, str) and isinstance(scope, str), "the token names no tenant or scope")
        token_id = claims.get("jti")
        try:
            subject = TokenSubject(
                UUID(str(tenant)),
                str(client_id),
                parse_scope(str(scope)),
                str(token_id) if token_id else None,
                claims.get(POLICIES_CLAIM) is True,
            )
        except ValueError as error:
            raise InvalidTokenError("the token names no tenant or scope") from error
        return _Verified(subject, expires_at)


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an `Authorization` header (RFC 6750 §2.1), or None where there is no header.

    Raises `InvalidTokenError` for another scheme or a malformed header.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or _B64TOKEN.fullmatch(token) is None:
        raise InvalidTokenError("the Authorization header must be: Bearer TOKEN")
    return token


def challenge(*, error: str | None = None, description: str | None = None, scope: str | None = None) -> str:
    """Return the value of `WWW-Authenticate` (RFC 6750 §3; criterion E3)."""
    parts = ['realm="countwheel"']
    for name, value in (("error", error), ("error_description", description), ("scope", scope)):
        if value is not None:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'{name}="{escaped}"')
    return "Bearer " + ", ".join(parts)


def check_type(header: Mapping[str, Any], types: frozenset[str]) -> None:
    """Raise `InvalidTokenError` unless the token's `typ` is one of these, which are in lower case."""
    kind = header.get("typ")
    require(isinstance(kind, str) and kind.lower() in types, "not an access token")


def check_begun(claims: Mapping[str, Any], now: float) -> None:
    """Raise `InvalidTokenError` for a token that was issued after `now`, or is not to be used before."""
    for name in ("iat", "nbf"):
        if name in claims:
            require(number(claims, name) <= now, "the token is from the future")


def audiences(claim: object) -> list[str]:
    """Return whom a token is for: `aud` is a text or a list of them (RFC 7519 §4.1.3)."""
    if isinstance(claim, str):
        return [claim]
    return [entry for entry in claim if isinstance(entry, str)] if isinstance(claim, list) else []


def number(claims: Mapping[str, Any], name: str) -> float:
    """Return a claim that is a NumericDate, at most the last second of the year 9999. Raises `InvalidTokenError`."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 (NaN)
        raise InvalidTokenError(f"the token's {name} is missing or no number")
    return float(min(value, _LAST_SECOND))


def is_text(value: object) -> bool:
    """Whether a claim is a text with something in it."""
    return isinstance(value, str) and value != ""


def require(condition: bool, description: str) -> None:  # noqa: FBT001 (reads as a sentence)
    """Raise `InvalidTokenError` with the description unless the condition holds."""
    if not condition:
        raise InvalidTokenError(description)
