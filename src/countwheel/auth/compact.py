"""Signed tokens in compact form, read strictly (RFC 7515 §7.1, RFC 7519, RFC 8725).

What two readers could take for two different tokens is none: names given twice, base64 that is not canonical, numbers
that are none, other serialisations. Nothing here says whose token it is: keys are looked up by whoever asks.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

MAX_TOKEN_CHARACTERS = 8_192

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_MAX_KID_CHARACTERS = 512
# RFC 9864 gives the algorithm that RFC 8037 called EdDSA the name of its curve: one signature, two names.
_SAME_SIGNATURE = {"EdDSA": "Ed25519"}


class _IssuerOnly(msgspec.Struct):
    iss: object = None


_ISSUER = msgspec.json.Decoder(_IssuerOnly)


@dataclass(frozen=True, slots=True)
class Compact:
    """A token, taken apart. Nothing of it is to be believed before its signature is."""

    header: dict[str, Any]
    claims: dict[str, Any]
    algorithm: str
    kid: str
    signed_bytes: bytes
    signature: bytes

    def is_signed_by(self, key: Key) -> bool:
        """Whether a key made the signature with the algorithm that the header names.

        Which algorithms are allowed, and whether the key is meant for this one, was settled before.
        """
        model = JWSRegistry.algorithms[_SAME_SIGNATURE.get(self.algorithm, self.algorithm)]
        try:
            model.check_key(key)
            return model.verify(self.signed_bytes, self.signature, key)
        except (JoseError, ValueError, TypeError):
            return False


def read_compact(token: str) -> Compact:
    """Take a token apart. Raises `ValueError` with a text that may be shown, whatever is wrong with it."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise ValueError("the token is too long")
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        raise ValueError("not a signed token in compact form")
    header, claims = _object(parts[1]), _object(parts[2])
    if "crit" in header or "b64" in header:
        raise ValueError("the token asks for extensions that are not known here")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise ValueError("the token names no algorithm")  # noqa: TRY004 (as below)
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARACTERS:
        raise ValueError("the token names no key")
    return Compact(header, claims, algorithm, kid, token[: parts.end(2)].encode(), _decoded(parts[3]))


def unverified_issuer(token: str) -> str | None:
    """Return the issuer that a token claims to be from, to choose who judges it and for nothing else.

    None where there is none to be seen.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        return None
    claims = token.partition(".")[2].partition(".")[0]
    try:
        issuer = _ISSUER.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).iss
    except (ValueError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) else None


def strict_json(data: bytes) -> object:
    """Return the value of a JSON text (RFC 8259). Raises `ValueError` for names given twice, NaN and Infinity, too."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(part: str) -> dict[str, Any]:
    try:
        value = strict_json(_decoded(part))
    except ValueError as error:
        raise ValueError("the token's header or claims cannot be read") from error
    if not isinstance(value, dict):
        raise ValueError("the token's header or claims are no object")  # noqa: TRY004 (the caller knows one error)
    return value


def _decoded(part: str) -> bytes:
    """Return the bytes of base64url without padding. One value has one spelling: bits left over must be zero."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a part of the token is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise ValueError("a part of the token is not canonical base64url")
    return data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")
