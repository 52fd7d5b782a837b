"""Identities that are computed, not handed out.

A run's id *is* its occurrence: a UUID (version 8, RFC 9562) whose leading 48 bits are the milliseconds of
`scheduled_for` and whose rest is a hash of (job, instant, trigger). The same occurrence has the same id on every node,
ids sort by time, and an occurrence can be named before its row exists.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from countwheel.domain.run import Trigger

BUCKETS = 8
"""How many parts the due index is split into; a power of two, fixed by a CHECK constraint on `runs`."""

LAST_ID = UUID(int=(1 << 128) - 1)
"""The greatest that there is."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_MAX_MILLISECONDS = (1 << 48) - 1
_HASH_BITS = 80
_VERSION_MASK = 0xF << 76
_VARIANT_MASK = 0x3 << 62


def milliseconds_of(instant: datetime) -> int:
    """Return whole milliseconds since 1970-01-01T00:00:00Z, exactly (no float on the way)."""
    return (instant - _EPOCH) // _MILLISECOND


def instant_of(milliseconds: int) -> datetime:
    """Return the instant of `milliseconds` since 1970. Raises `OverflowError` beyond the year 9999."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def microseconds_of(instant: datetime) -> int:
    """Return whole microseconds since 1970, exactly: all that a timestamp of PostgreSQL holds."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of_microseconds(microseconds: int) -> datetime:
    """Return the instant of `microseconds` since 1970. Raises `OverflowError` beyond the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def run_id(job_id: UUID, scheduled_for: datetime, trigger: Trigger, wish: bytes = b"") -> UUID:
    """Return the id of the run of `job_id` for the occurrence `scheduled_for` (whole milliseconds, from 1970 on).

    `wish` tells one backfill from another: an occurrence may be wanted again, and a receiver must not take it for a
    repetition.
    """
    milliseconds = milliseconds_of(scheduled_for)
    digest = hashlib.sha256(b"%b%d %b%b" % (job_id.bytes, milliseconds, trigger.encode(), wish)).digest()
    return _stamped(milliseconds, int.from_bytes(digest[:10]), version=8)


def job_id(created_at: datetime, entropy: bytes) -> UUID:
    """Return a new job's id: UUID version 7 from its creation time and at least 10 unguessable bytes."""
    return _stamped(milliseconds_of(created_at), int.from_bytes(entropy[:10]), version=7)


def first_run_id(instant: datetime) -> UUID:
    """Return the least id that a run of this instant, or a job that is made then, can have."""
    return UUID(int=min(max(milliseconds_of(instant), 0), _MAX_MILLISECONDS) << _HASH_BITS)


def time_of(id_: UUID) -> datetime | None:
    """Return the instant that an id claims to stand for (a run's occurrence, a job's creation), or None beyond 9999."""
    try:
        return instant_of(id_.int >> _HASH_BITS)
    except OverflowError:
        return None


def bucket_of(run: UUID) -> int:
    """Return which part of the due index a run belongs to, evenly spread."""
    return run.int % BUCKETS


def _stamped(milliseconds: int, low_bits: int, *, version: int) -> UUID:
    bits = low_bits & ~(_VERSION_MASK | _VARIANT_MASK)
    return UUID(int=milliseconds << _HASH_BITS | bits | version << 76 | 0b10 << 62)
