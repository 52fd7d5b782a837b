"""Signed URLs to which a target says how a run went. Nothing is stored for them: every node makes and checks them.

A token names its tenant, its attempt (by the fence) and when it ends; job and run are those of the URL. All of it is
under one HMAC-SHA256 (RFC 2104), with a key derived from `COUNTWHEEL_SECRET_KEY`.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countwheel.auth.oauth import InvalidTokenError

KEY_PURPOSE = "countwheel callback tokens 1"
"""What the key is derived for: see `Sealer.derive_keys`."""

MAX_TOKEN_CHARACTERS = 200

_FIELDS = struct.Struct(">16sIQ")
_MAC_BYTES = 32
_REFUSED = "the callback token opens nothing here"


@dataclass(frozen=True, slots=True)
class CallbackToken:
    """Whose run a signed URL is about, and which attempt of it."""

    tenant_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class CallbackUrls:
    """Where a target says how it went, and that it is at work."""

    complete: str
    heartbeat: str


class CallbackTokens:
    """Makes the URLs of runs, and reads the tokens in them."""

    def __init__(self, keys: Sequence[bytes], public_url: str) -> None:
        """The first of `keys` signs, any of them verifies: the operator's key may be changing.

        `public_url` is where targets reach this deployment, without a slash at its end.
        """
        self._keys = tuple(keys)
        self._public_url = public_url

    def urls(self, tenant_id: UUID, job_id: UUID, run_id: UUID, fence: int, until: datetime) -> CallbackUrls:
        """Return the URLs of one attempt, good until `until`."""
        fields = _FIELDS.pack(tenant_id.bytes, fence, int(until.timestamp()))
        token = base64.urlsafe_b64encode(fields + _mac(self._keys[0], job_id, run_id, fields)).rstrip(b"=").decode()
        run = f"{self._public_url}/v1/jobs/{job_id}/run/{run_id}"
        return CallbackUrls(f"{run}/complete?token={token}", f"{run}/heartbeat?token={token}")

    def open(self, token: str, job_id: UUID, run_id: UUID, now: datetime) -> CallbackToken:
        """Return what a token names. Raises `InvalidTokenError` unless it is ours, of this run, and still good."""
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise InvalidTokenError(_REFUSED)
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidTokenError(_REFUSED) from error
        fields, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        macs = [_mac(key, job_id, run_id, fields) for key in self._keys]
        if len(fields) != _FIELDS.size or not any(hmac.compare_digest(mac, each) for each in macs):
            raise InvalidTokenError(_REFUSED)
        tenant, fence, until = _FIELDS.unpack(fields)
        if now.timestamp() >= until:
            raise InvalidTokenError("the callback token has expired")
        return CallbackToken(UUID(bytes=tenant), fence)


def _mac(key: bytes, job_id: UUID, run_id: UUID, fields: bytes) -> bytes:
    return hmac.digest(key, job_id.bytes + run_id.bytes + fields, hashlib.sha256)
