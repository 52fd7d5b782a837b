"""Standard Webhooks 1.0 signatures: HMAC-SHA256 over "id.timestamp.body"."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 (the prefix, not a secret)
SECRET_BYTES = 32


def sign(secrets: Sequence[bytes], message_id: str, unix_seconds: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one `v1,…` a secret, with spaces between (two during a rotation)."""
    content = b"%b.%d.%b" % (message_id.encode(), unix_seconds, body)
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets
    )


def format_secret(secret: bytes) -> str:
    """Return a secret as receivers are given it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def parse_secret(text: str) -> bytes:
    """Return the bytes of a `whsec_…` secret. Raises `ValueError`."""
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not a webhook secret: expected whsec_ and base64") from error
