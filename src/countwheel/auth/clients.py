"""Clients and their secrets: 256 random bits, kept as a hash, shown once."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from countwheel.clock import Chance

_SECRET_PREFIX = "cws_"  # noqa: S105 (the prefix, not a secret)
_SECRET_BYTES = 32
_ID_BYTES = 9
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may ask for tokens."""

    client_id: str
    tenant_id: UUID
    secret_hash: bytes
    scopes: frozenset[str]
    name: str


def new_client_id(chance: Chance) -> str:
    """Return an id that says what it is."""
    return "cwc_" + base64.urlsafe_b64encode(chance.token_bytes(_ID_BYTES)).decode()


def new_client_secret(chance: Chance) -> str:
    """Return a secret that cannot be guessed."""
    return _SECRET_PREFIX + base64.urlsafe_b64encode(chance.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a secret. One round is enough: the secret is random, not a password."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def secret_matches(client: Client | None, secret: str) -> bool:
    """Whether this is the client's secret, in constant time, and as slow for a client that does not exist."""
    expected = client.secret_hash if client is not None else _NO_HASH
    return hmac.compare_digest(expected, hash_secret(secret)) and client is not None
