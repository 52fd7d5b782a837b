"""Secrets at rest: AES-256-GCM under the operator's key (`COUNTWHEEL_SECRET_KEY`), so that a dump reveals nothing."""

from collections.abc import Sequence

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

    def __init__(self, key: bytes, chance: Chance, *, previous: Sequence[bytes] = ()) -> None:
        """Take a key of 32 bytes, which seals, and those before or after it, which open what it did not seal.

        Raises `ValueError` for another length.
        """
        self._keys = (key, *previous)
        if wrong := next((len(each) for each in self._keys if len(each) != KEY_BYTES), None):
            raise ValueError(f"the secret key must have {KEY_BYTES} bytes, not {wrong}")
        self._ciphers = [AESGCM(each) for each in self._keys]
        self._chance = chance

    def derive_keys(self, purpose: str) -> list[bytes]:
        """Return a key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869), and those of the other keys after it.

        They tell nothing of the operator's.
        """
        return [HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(key) for key in self._keys]

    def seal(self, secret: bytes, belongs_to: str) -> bytes:
        """Return `secret` sealed: nonce, then ciphertext and tag."""
        nonce = self._chance.token_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret, belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> bytes:
        """Return the secret. Raises `WrongSecretKeyError` if it was sealed under another key or for another row."""
        for cipher in self._ciphers:
            if (secret := _opened(cipher, sealed, belongs_to)) is not None:
                return secret
        raise WrongSecretKeyError(
            f"the stored secret of {belongs_to} was sealed under another key: "
            "is COUNTWHEEL_SECRET_KEY the one that this database was made with?"
        )

    def has_sealed(self, sealed: bytes, belongs_to: str) -> bool:
        """Whether it was sealed under the key that seals now."""
        return _opened(self._ciphers[0], sealed, belongs_to) is not None


def _opened(cipher: AESGCM, sealed: bytes, belongs_to: str) -> bytes | None:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to.encode())
    except (InvalidTag, ValueError):  # ValueError: cut off short of a whole nonce
        return None
