"""The built-in policies: how often to try again, and what becomes of occurrences that were missed."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

MISFIRE_GRACE = timedelta(seconds=60)
"""How late an occurrence may be before it counts as missed."""

CATCHUP_WINDOW = timedelta(hours=24)
"""How late an occurrence may be before it is not worth running at all, where its job does not say (criterion P2)."""

DROPPED_COUNT_LIMIT = 1_000
"""Dropped occurrences are counted one by one up to here, so that a year's outage costs milliseconds."""

LOST_ATTEMPTS_LIMIT = 20
"""A run that was lost with its node this often is parked as FAILED: it may be what kills the nodes."""

ATTEMPTS_LIMIT = 30_000
"""A run that was tried so often in all is not sent again by hand: its attempts are counted up to 32,767."""

MAX_RETRY_AFTER = timedelta(days=1)
"""A target's `Retry-After` is followed up to here (criterion W9)."""


FIRE_ALL_LIMIT = 100
"""Of what was missed, misfire policy `fire_all` runs so many at the most: the latest (criterion P2)."""


class Misfire(StrEnum):
    """Which of the occurrences that were missed run after all."""

    FIRE_LATEST = "fire_latest"
    FIRE_ALL = "fire_all"
    SKIP = "skip"


QUEUE_ALL_LIMIT = 1_000
"""So many runs of a job wait for an earlier one at the most (criterion P1)."""


class Overlap(StrEnum):
    """What becomes of an occurrence that is due while an earlier run of its job is alive."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    QUEUE_ALL = "queue_all"
    CANCEL_RUNNING = "cancel_running"
    ALLOW = "allow"


class Delivery(StrEnum):
    """How often a run may reach its target. HTTP knows no third way (promise 5)."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class OnUnknown(StrEnum):
    """What to do with a run that was sent and not answered: send it again, or hold it as UNKNOWN for a person."""

    RETRY = "retry"
    HOLD = "hold"


def default_on_unknown(delivery: Delivery) -> OnUnknown:
    """Return what a job does about unknown outcomes where it does not say."""
    return OnUnknown.HOLD if delivery is Delivery.AT_MOST_ONCE else OnUnknown.RETRY


class Backoff(StrEnum):
    """How the delay before the next attempt grows."""

    EXPONENTIAL = "exponential"
    """It doubles."""
    LINEAR = "linear"
    """By the first delay each time."""
    FIXED = "fixed"


class Jitter(StrEnum):
    """How much of the delay is left to chance."""

    FULL = "full"
    """All of it: any moment up to the delay, so that what failed together does not come back together."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again (criterion W9): full jitter over a delay that doubles, within an age.

    At most once, whatever the target may have received is not sent again: only a call that provably never left is.
    """

    max_attempts: int = 5
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    on_unknown: OnUnknown = OnUnknown.RETRY
    backoff: Backoff = Backoff.EXPONENTIAL
    first_delay_seconds: float = 10.0
    max_delay_seconds: float = 3600.0
    max_age: timedelta = timedelta(hours=24)
    jitter: Jitter = Jitter.FULL
    retry_statuses: frozenset[int] | None = None
    """Which statuses are tried again, if it is not the usual ones."""

    def ceiling_seconds(self, attempts_made: int) -> float:
        """Return the longest delay before the attempt after `attempts_made` (from 1)."""
        match self.backoff:
            case Backoff.EXPONENTIAL:
                doublings = min(attempts_made - 1, 30)  # 2**30 seconds is past every max_delay; keeps the float small
                grown = self.first_delay_seconds * 2**doublings
            case Backoff.LINEAR:
                grown = self.first_delay_seconds * attempts_made
            case Backoff.FIXED:
                grown = self.first_delay_seconds
        return float(min(grown, self.max_delay_seconds))
