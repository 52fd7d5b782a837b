"""The built-in policies: how often to try again, and what becomes of occurrences that were missed."""

from dataclasses import dataclass
from datetime import timedelta

MISFIRE_GRACE = timedelta(seconds=60)
"""How late an occurrence may be before it counts as missed."""

CATCHUP_WINDOW = timedelta(hours=24)
"""How late an occurrence may be before it is not worth running at all (criterion P2)."""

DROPPED_COUNT_LIMIT = 1_000
"""Dropped occurrences are counted one by one up to here, so that a year's outage costs milliseconds."""

LOST_ATTEMPTS_LIMIT = 20
"""A run that was lost with its node this often is parked as FAILED: it may be what kills the nodes."""

MAX_RETRY_AFTER = timedelta(days=1)
"""A target's `Retry-After` is followed up to here (criterion W9)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again (criterion W9): full jitter over a delay that doubles, within an age."""

    max_attempts: int = 5
    first_delay_seconds: float = 10.0
    max_delay_seconds: float = 3600.0
    max_age: timedelta = timedelta(hours=24)

    def ceiling_seconds(self, attempts_made: int) -> float:
        """Return the longest delay before the attempt after `attempts_made` (from 1)."""
        doublings = min(attempts_made - 1, 30)  # 2**30 seconds is past every max_delay; keeps the float small
        return float(min(self.first_delay_seconds * 2**doublings, self.max_delay_seconds))
