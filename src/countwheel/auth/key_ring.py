"""The keys of our own issuer as they stand on a node: they rotate while nodes run, and nobody is kept out by it.

A new key is published a while before it signs, so that every node, and everybody who verifies by `/oauth/jwks.json`,
has it by then. An old one verifies until no token of its own can be alive (criterion O8).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import structlog
from joserfc.jwk import RSAKey

from countwheel.auth import bootstrap
from countwheel.auth.keys import SigningKey, load_key, public_jwks
from countwheel.clock import Clock
from countwheel.store.database import Database, DatabaseUnavailableError
from countwheel.store.sealing import Sealer

PUBLISHED_BEFORE_IT_SIGNS = timedelta(minutes=10)
"""Twice as long as verifiers may keep the published keys, and ten looks of a node."""

_LOOKS_EVERY_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class KeyRing:
    """Which key signs now, and which keys verify."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        """Raises `ValueError` without a key."""
        self._keys: list[SigningKey] = []
        self._by_kid: dict[str, RSAKey] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Take the keys as they stand now. Raises `ValueError` without one."""
        if not keys:
            raise ValueError("an issuer has a key")
        self._keys = sorted(keys, key=lambda key: key.created_at)
        self._by_kid = {key.kid: load_key(key) for key in self._keys}

    def signer(self, now: datetime) -> SigningKey:
        """Return the newest key that was published for long enough; the oldest where none was."""
        known = [key for key in self._keys if now - key.created_at >= PUBLISHED_BEFORE_IT_SIGNS]
        return known[-1] if known else self._keys[0]

    def find(self, kid: str) -> RSAKey | None:
        """Return a key that verifies, by its id."""
        return self._by_kid.get(kid)

    def public(self) -> dict[str, Any]:
        """Return the JWK set (RFC 7517): public parts only."""
        return public_jwks(self._keys)


@asynccontextmanager
async def kept_fresh(ring: KeyRing, database: Database, sealer: Sealer, clock: Clock) -> AsyncIterator[None]:
    """Look every minute, until the block ends, whether keys are to be made, to be taken in, or to go."""
    keeping = asyncio.create_task(_keep_fresh(ring, database, sealer, clock))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep_fresh(ring: KeyRing, database: Database, sealer: Sealer, clock: Clock) -> None:
    while True:
        await clock.sleep(_LOOKS_EVERY_SECONDS)
        try:
            ring.replace(await bootstrap.ensure_issuer_keys(database, sealer, clock.now()))
        except DatabaseUnavailableError as error:
            _log.warning("the issuer's keys could not be looked at", error=str(error))
        except Exception:  # noqa: BLE001 (said in the log; the keys that are known go on)
            _log.exception("the issuer's keys could not be looked at")
