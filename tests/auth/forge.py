"""Tokens made by hand, byte for byte: right ones, and what an attacker would send."""

import base64
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey, RSAKey

Sign = Callable[[bytes], bytes]


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value: Any) -> bytes:
    """Bytes as they stand, anything else as JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def token(header: Any, claims: Any, sign: Sign) -> str:
    """A token in compact form."""
    text = f"{encoded(as_json(header))}.{encoded(as_json(claims))}"
    return f"{text}.{encoded(sign(text.encode()))}"


def rs256(key: RSAKey) -> Sign:
    private = key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    return lambda message: private.sign(message, padding.PKCS1v15(), hashes.SHA256())


def ps256(key: RSAKey) -> Sign:
    private = key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    salted = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return lambda message: private.sign(message, salted, hashes.SHA256())


def ecdsa(key: ECKey, hashed: hashes.HashAlgorithm, *, size: int) -> Sign:
    """`size` is the bytes of r and of s."""
    private = key.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


def es256(key: ECKey) -> Sign:
    return ecdsa(key, hashes.SHA256(), size=32)
