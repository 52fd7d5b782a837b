"""Secrets at rest: AES-256-GCM under the operator's key (`COUNTWHEEL_SECRET_KEY`), so that a dump reveals nothing."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countwheel.clock import Chance

KEY_BYTES = 32
_NONCE_BYTES = 12


class WrongSecretKeyError(Exception):
    """What is stored was sealed under another key."""


class Sealer:
    """Seals and opens short secrets. What a secret belongs to is bound in: it cannot be moved to another row."""

    def __init__(self, key: bytes, chance: Chance) -> None:
        """Take a key of 32 bytes. Raises `ValueError` for another length."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the secret key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._cipher = AESGCM(key)
        self._chance = chance

    def derive_key(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869): it tells nothing of the operator's."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(self._key)

    def seal(self, secret: bytes, belongs_to: str) -> bytes:
        """Return `secret` sealed: nonce, then ciphertext and tag."""
        nonce = self._chance.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> bytes:
        """Return the secret. Raises `WrongSecretKeyError` if it was sealed under another key or for another row."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to.encode())
        except (InvalidTag, ValueError) as error:  # ValueError: cut off short of a whole nonce
            raise WrongSecretKeyError(
                f"the stored secret of {belongs_to} was sealed under another key: "
                "is COUNTWHEEL_SECRET_KEY the one that this database was made with?"
            ) from error
