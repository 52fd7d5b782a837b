"""The token endpoint's rules (RFC 6749 client credentials) and the tokens that it issues (RFC 9068)."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from joserfc import jwt

from countwheel.auth.clients import Client
from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import ALGORITHM, load_key
from countwheel.auth.oauth import POLICIES_CLAIM
from countwheel.auth.principal import parse_scope
from countwheel.clock import Chance, Clock

TOKEN_TYPE = "at+jwt"  # noqa: S105 (a media type)
_FORM = "application/x-www-form-urlencoded"
_JTI_BYTES = 16
_MAX_PARAMETERS = 20


class TokenError(Exception):
    """A refusal of the token endpoint; `code` is one of RFC 6749 §5.2."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A well-formed request for a token; the client is not known to be who it says yet."""

    client_id: str
    client_secret: str
    scope: str | None


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What the token endpoint answers (RFC 6749 §5.1)."""

    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"  # noqa: S105 (a type)


class Issuer:
    """Issues tokens."""

    def __init__(
        self,
        issuer_url: str,
        audience: str,
        keys: KeyRing,
        clock: Clock,
        chance: Chance,
        *,
        token_lifetime_seconds: int = 3600,
    ) -> None:
        self.issuer_url = issuer_url
        self.audience = audience
        self._keys = keys
        self._clock = clock
        self._chance = chance
        self._lifetime_seconds = token_lifetime_seconds

    def grant(self, client: Client, requested_scope: str | None) -> TokenGrant:
        """Return a token for a client whose secret was right, with the scopes that it asked for, or all of its own.

        Raises `TokenError` for a scope that the client does not have.
        """
        scopes = client.scopes if requested_scope is None else _requested(requested_scope, client.scopes)
        scope = " ".join(sorted(scopes))
        moment = self._clock.now()
        now = int(moment.timestamp())
        claims = {
            "iss": self.issuer_url,
            "aud": self.audience,
            "sub": client.client_id,
            "client_id": client.client_id,
            "iat": now,
            "exp": now + self._lifetime_seconds,
            "jti": base64.urlsafe_b64encode(self._chance.token_bytes(_JTI_BYTES)).rstrip(b"=").decode(),
            "scope": scope,
            "tenant": str(client.tenant_id),
        }
        if requested_scope is None:
            claims[POLICIES_CLAIM] = True
        key = self._keys.signer(moment)
        header = {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": key.kid}
        token = jwt.encode(header, claims, load_key(key), algorithms=[ALGORITHM])
        return TokenGrant(token, self._lifetime_seconds, scope)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517)."""
        return self._keys.public()

    def metadata(self) -> dict[str, Any]:
        """Return the authorization server's metadata (RFC 8414)."""
        return {
            "issuer": self.issuer_url,
            "token_endpoint": f"{self.issuer_url}/oauth/token",
            "jwks_uri": f"{self.issuer_url}/oauth/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": ["admin", "jobs:read", "jobs:write", "runs:read", "runs:write"],
        }

    def provider_metadata(self) -> dict[str, Any]:
        """Return what a verifier of tokens for targets looks up (OpenID Connect Discovery 1.0, section 3)."""
        return self.metadata() | {
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "claims_supported": ["iss", "sub", "aud", "iat", "exp", "jti", "tenant"],
        }


def read_token_request(authorization: str | None, content_type: str | None, body: bytes) -> TokenRequest:
    """Return what is asked for (RFC 6749 §2.3.1 and §4.4.2). Raises `TokenError`."""
    if (content_type or "").split(";", 1)[0].strip().lower() != _FORM:
        raise TokenError("invalid_request", f"the body must be {_FORM}")
    form = _form(body)
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise TokenError("invalid_request", "grant_type is missing")
    if grant_type != "client_credentials":
        raise TokenError("unsupported_grant_type", "grant_type must be client_credentials")
    in_body = form.get("client_id"), form.get("client_secret")
    if authorization is not None:
        if in_body[1] is not None:
            raise TokenError("invalid_request", "give the client's secret in one place only")
        client_id, client_secret = _basic(authorization)
        if in_body[0] is not None and in_body[0] != client_id:
            raise TokenError("invalid_request", "client_id differs from the Authorization header's")
    elif in_body[0] is None or in_body[1] is None:
        raise TokenError("invalid_client", "the client's id and secret are missing", 401)
    else:
        client_id, client_secret = in_body[0], in_body[1]
    return TokenRequest(client_id, client_secret, form.get("scope") or None)


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise TokenError("invalid_request", "the body is not form data in UTF-8") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise TokenError("invalid_request", "a parameter is repeated")
    if any("\x00" in name + value for name, value in pairs):
        raise TokenError("invalid_request", "a parameter holds NUL")
    return form


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise TokenError("invalid_client", "the Authorization header must be Basic", 401)
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, separator, secret = pair.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError) as error:
        raise TokenError("invalid_client", "the Authorization header cannot be read", 401) from error
    if not separator or "\x00" in client_id:
        raise TokenError("invalid_client", "the Authorization header cannot be read", 401)
    return client_id, secret


def _requested(text: str, owned: frozenset[str]) -> frozenset[str]:
    try:
        requested = parse_scope(text)
    except ValueError as error:
        raise TokenError("invalid_scope", str(error)) from error
    if not requested or not requested <= owned:
        raise TokenError("invalid_scope", f"this client may ask for: {' '.join(sorted(owned))}")
    return requested
