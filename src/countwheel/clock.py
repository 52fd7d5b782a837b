"""Time and chance: the only module that reads either.

Everything else receives a `Clock` (and, where it needs it, a `Chance`) from the composition root, so that a test
can hold both still. Instants are timezone-aware `datetime`s in UTC; durations are seconds as `float`.
"""

import asyncio
import os
import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the rest of the code may know about time."""

    def now(self) -> datetime:
        """Return the current instant, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back, with no meaning but their differences."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds`."""
        ...


class Chance(Protocol):
    """What the rest of the code may know about randomness."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between `low` and `high`, evenly spread (for jitter; not for secrets)."""
        ...

    def token_bytes(self, count: int) -> bytes:
        """Return `count` bytes that cannot be guessed (for ids, secrets and nonces)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant, timezone-aware, in UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)
    """Seconds that never step back (`CLOCK_MONOTONIC`; the same for all processes of this boot). Asked a dozen times a
    run: the function itself, not a call of it."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds`."""
        await asyncio.sleep(seconds)


class SystemChance:
    """The machine's randomness."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between `low` and `high`, evenly spread."""
        return random.uniform(low, high)  # noqa: S311 (jitter needs spread, not secrecy)

    def token_bytes(self, count: int) -> bytes:
        """Return `count` bytes from the operating system's generator."""
        return os.urandom(count)
