"""The keys that sign our own tokens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from joserfc.jwk import RSAKey

ALGORITHM = "RS256"
"""RS256 is what RFC 9068 asks every issuer for, and the cheapest to verify of the asymmetric ones, which is what a
resource server does all day."""

KEY_BITS = 2048
ROTATE_AFTER = timedelta(days=30)
"""A new key is made after this."""
RETIRED_AFTER = timedelta(days=2)
"""A key goes so long after its successor was made: a token lives a day at the most."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key as a JWK in JSON. `kid` is its RFC 7638 thumbprint."""

    kid: str
    private_key: str
    created_at: datetime


def new_signing_key(now: datetime) -> SigningKey:
    """Return a fresh key."""
    key = RSAKey.generate_key(KEY_BITS, auto_kid=True)
    return SigningKey(str(key.kid), json.dumps(key.as_dict(private=True)), now)


@lru_cache(maxsize=64)
def load_key(key: SigningKey) -> RSAKey:
    """Return the key in joserfc's form; loading costs a millisecond, so it is remembered."""
    return RSAKey.import_key(json.loads(key.private_key))


def public_jwks(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """Return the JWK set (RFC 7517) that verifiers fetch: public parts only."""
    return {
        "keys": [
            load_key(key).as_dict(private=False) | {"kid": key.kid, "use": "sig", "alg": ALGORITHM} for key in keys
        ]
    }
