"""What an attempt's result means: succeeded, try again at, failed, or unknown. Pure: chance comes in as a number."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeGuard

from countwheel.domain.attempt import SUCCESSES, AttemptResult, Failure, FailureKind, Response
from countwheel.domain.policy import MAX_RETRY_AFTER, Delivery, Jitter, OnUnknown, RetryPolicy

RETRYABLE_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""4xx answers that are tried again; every other 4xx is final (criterion W9)."""


HELD = "the target may have received it; held, because the job says so (on_unknown: hold)"
"""Why a run ends UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The target took the call."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Not yet: send again at `due_at`."""

    due_at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not now and not later. `gone`: the target says that it will never be there again (HTTP 410)."""

    error: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Sent, and no answer: nobody but the target knows, and the job wants it held rather than sent again."""

    error: str


Outcome = Succeeded | RetryAt | Failed | Unknown


@dataclass(frozen=True, slots=True)
class AttemptsSoFar:
    """What has been tried: `made` counts this attempt too, `first_started_at` is the first one's start."""

    made: int
    first_started_at: datetime


def is_accepted(result: AttemptResult) -> bool:
    """Whether a target that was given a callback has taken the run over: it answers 202."""
    return isinstance(result, Response) and result.status == HTTPStatus.ACCEPTED


def is_success(result: AttemptResult) -> TypeGuard[Response]:
    """Whether the target took the call: any 2xx."""
    return isinstance(result, Response) and result.status in SUCCESSES


def decide(
    result: AttemptResult, policy: RetryPolicy, attempts: AttemptsSoFar, *, now: datetime, jitter: float
) -> Outcome:
    """Return what `result` means for its run.

    `jitter` is a number from 0 to 1, evenly spread; with 1 the whole back-off delay is waited out.
    """
    if is_success(result):
        return Succeeded()
    error = describe(result)
    if policy.on_unknown is OnUnknown.HOLD and isinstance(result, Failure) and result.maybe_sent:
        return Unknown(f"{error} ({HELD})")
    if policy.delivery is Delivery.AT_MOST_ONCE and isinstance(result, Response):
        return Failed(f"{error} (at most once: the target had the call, so it is not sent again)")
    if isinstance(result, Response) and result.wants_no_more:
        return Failed(f"{error} (the target wants no more of it: countwheel-retry: never)")
    if not _is_retryable(result, policy):
        return Failed(error, gone=isinstance(result, Response) and result.status == HTTPStatus.GONE)
    if attempts.made >= policy.max_attempts:
        return Failed(f"{error} (attempt {attempts.made} of {policy.max_attempts}, the last)")
    share = jitter if policy.jitter is Jitter.FULL else 1.0
    delay = timedelta(seconds=policy.ceiling_seconds(attempts.made) * share)
    asked_for = retry_after(result, now)
    if asked_for is not None:
        delay = max(delay, asked_for)
    due_at = now + delay
    if due_at - attempts.first_started_at > policy.max_age:
        return Failed(f"{error} (the next attempt would be later than the run's maximum age)")
    return RetryAt(due_at, error)


def describe(result: AttemptResult) -> str:
    """Return one line for the ledger that says what came of the call."""
    if isinstance(result, Failure):
        return f"{result.kind}: {result.detail}"
    try:
        return f"HTTP {result.status} {HTTPStatus(result.status).phrase}"
    except ValueError:
        return f"HTTP {result.status}"


def _is_retryable(result: AttemptResult, policy: RetryPolicy) -> bool:
    if isinstance(result, Failure):
        # A blocked target stays blocked, and an abort was asked for: neither gets better by itself.
        return result.kind not in {FailureKind.BLOCKED, FailureKind.ABORTED}
    if policy.retry_statuses is not None:
        return result.status in policy.retry_statuses
    return result.status in RETRYABLE_STATUSES or result.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after(result: AttemptResult, now: datetime) -> timedelta | None:
    """Read RFC 9110 `Retry-After`: seconds or a date; anything else is as if it were not there."""
    if not isinstance(result, Response) or result.retry_after is None:
        return None
    text = result.retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = min(int(text[:9]), int(MAX_RETRY_AFTER.total_seconds()))
        return timedelta(seconds=seconds)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year, or a zone, with more digits than there are years
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(timedelta(0), min(at - now, MAX_RETRY_AFTER))
