"""Pages by keyset: an opaque token tells where the last page ended and which listing it belongs to (criterion E6)."""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from uuid import UUID

from countwheel.api.problems import Problem, invalid_parameter

DEFAULT_SIZE = 50
MAX_SIZE = 200
_FINGERPRINT_BYTES = 8
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page:
    """What page is asked for. `last` is the id that the page before it ended with."""

    size: int
    last: str | None
    fingerprint: bytes

    @property
    def before(self) -> UUID | None:
        """The id of a listing whose ids are UUIDs. Raises the 400 problem where it is none."""
        try:
            return None if self.last is None else UUID(self.last)
        except ValueError as error:
            raise not_a_token() from error

    def number(self, most: int) -> int | None:
        """The number, up to `most`, of a listing in the order of numbers. Raises the 400 problem where it is none."""
        if self.last is None:
            return None
        if not self.last.isdigit() or (number := int(self.last)) > most:
            raise not_a_token()
        return number

    def token_after(self, last: str) -> str:
        """Return the token of the page after the one that ends with `last`."""
        return base64.urlsafe_b64encode(self.fingerprint + last.encode()).decode()


def read_page(size: str | None, token: str | None, filters: dict[str, list[str]]) -> Page:
    """Return the page that is asked for.

    Raises the 400 problem for a size that is negative or no number, and for a token that is garbage or was made with
    other filters.
    """
    fingerprint = hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).digest()[:_FINGERPRINT_BYTES]
    return Page(_size(size), _last(token, fingerprint), fingerprint)


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_SIZE
    if not (text.isascii() and text.isdigit()):
        raise invalid_parameter("page_size", f"give a whole number from 1 to {MAX_SIZE}")
    return min(int(text[:9]), MAX_SIZE) or DEFAULT_SIZE


def _last(token: str | None, fingerprint: bytes) -> str | None:
    if not token:
        return None
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        key = raw[_FINGERPRINT_BYTES:].decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise not_a_token() from error
    if not _KEY.fullmatch(key):
        raise not_a_token()
    if raw[:_FINGERPRINT_BYTES] != fingerprint:
        raise invalid_parameter("page_token", "it belongs to a listing with other filters: leave it out, or keep them")
    return key


def not_a_token() -> Problem:
    """Return the 400 problem of a token that is none of ours."""
    return invalid_parameter("page_token", "not a token of ours: leave it out for the first page")
