"""The `Idempotency-Key` header (IETF draft; criterion I2)."""

import re
from collections.abc import Sequence

from starlette.requests import Request

from countwheel.api.notes import noted
from countwheel.api.problems import Problem, invalid_parameter

_BARE = re.compile(r"[A-Za-z0-9._~-]{1,255}", re.ASCII)
# RFC 8941, a string: printable ASCII in quotes, with quote and backslash escaped.
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"', re.ASCII)
_ESCAPED = re.compile(r'\\(["\\])')
_MAX_CHARACTERS = 255
_NAME = "Idempotency-Key"


def read_wanted_key(request: Request, *, required: bool) -> str | None:
    """Return the key of a request, or None where there is none. Raises the 400 problem where one is required (I10)."""
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    if key is None and required:
        raise Problem(400, "idempotency-key-missing", detail="this server requires an Idempotency-Key header")
    # A request that is captured and sent again makes nothing twice (criterion A6).
    return key_of_signature(request) if key is None else key


def key_of_signature(request: Request) -> str | None:
    """Return the key that a signed request has in its signature; None for one that is not signed."""
    signature = noted(request, "signature")
    return None if signature is None else f"signature-{signature}"


def read_idempotency_key(values: Sequence[str]) -> str | None:
    """Return the key, or None where there is no header. `"k"` and `k` are the same key.

    Raises the 400 problem for a header that is repeated, empty, malformed or too long.
    """
    if not values:
        return None
    if len(values) > 1:
        raise invalid_parameter(_NAME, "given more than once")
    text = values[0].strip(" \t")
    if _BARE.fullmatch(text):
        return text
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        raise invalid_parameter(_NAME, 'give a string in quotes, like "8e03978e-40d5", of 1 to 255 characters')
    key = _ESCAPED.sub(r"\1", quoted[1])
    if not 1 <= len(key) <= _MAX_CHARACTERS:
        raise invalid_parameter(_NAME, f"give 1 to {_MAX_CHARACTERS} characters")
    return key
