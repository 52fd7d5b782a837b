"""Tokens for targets: a target that trusts our issuer knows which job calls it, without a secret between the two.

OpenID Connect's form, as cloud providers take it for workload identity: issuer, audience, subject, a short life.
It is no access token of ours: its type is `JWT`, and our own API takes `at+jwt` alone.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt

from countwheel.auth.key_ring import KeyRing
from countwheel.auth.keys import ALGORITHM, load_key
from countwheel.clock import Chance

LIFETIME = timedelta(minutes=10)
_USED_FOR = timedelta(minutes=5)
"""A token is used again for so long: signing one costs as much as twenty calls."""

_JTI_BYTES = 16
_MAX_KEPT = 4096


class JobTokens:
    """Makes tokens."""

    def __init__(self, issuer_url: str, keys: KeyRing, chance: Chance) -> None:
        self._issuer_url = issuer_url
        self._keys = keys
        self._chance = chance
        self._kept: dict[tuple[UUID, str], tuple[datetime, str]] = {}

    def token_for(self, tenant_id: UUID, job_id: UUID, audience: str, now: datetime) -> str:
        """Return a token that tells `audience` which job calls, good for five minutes from `now` at least."""
        kept = self._kept.get((job_id, audience))
        if kept is not None and kept[0] > now:
            return kept[1]
        claims: dict[str, Any] = {
            "iss": self._issuer_url,
            "sub": f"job:{job_id}",
            "aud": audience,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": self._chance.token_bytes(_JTI_BYTES).hex(),
            "tenant": str(tenant_id),
        }
        key = self._keys.signer(now)
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": "JWT"}
        token = jwt.encode(header, claims, load_key(key), algorithms=[ALGORITHM])
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[job_id, audience] = now + _USED_FOR, token
        return token
