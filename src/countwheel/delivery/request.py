"""What a call says: the body as it was submitted, signed, with the headers that let a receiver recognise a repeat."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countwheel.delivery.signing import sign
from countwheel.domain.attempt import Call
from countwheel.domain.timestamp import format_instant


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt of a run, before it is signed."""

    run_id: UUID
    job_id: UUID
    attempt: int
    fence: int
    scheduled_for: datetime
    trigger: str
    url: str
    body: bytes
    timeout_seconds: float
    callback_headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


def build_call(delivery: Delivery, *, secrets: Sequence[bytes], now: datetime, user_agent: str) -> Call:
    """Return the call, signed at `now` (Standard Webhooks 1.0, W3C Trace Context; criteria W1 and W3).

    `webhook-id` and `Idempotency-Key` are the run's id on every attempt; the fence only rises.
    """
    run_id = str(delivery.run_id)
    unix_seconds = int(now.timestamp())
    span = hashlib.sha256(b"%b%d" % (delivery.run_id.bytes, delivery.fence)).hexdigest()[:16]
    headers = (
        ("content-type", "application/json"),
        ("user-agent", user_agent),
        ("webhook-id", run_id),
        ("webhook-timestamp", str(unix_seconds)),
        ("webhook-signature", sign(secrets, run_id, unix_seconds, delivery.body)),
        ("idempotency-key", f'"{run_id}"'),
        ("traceparent", f"00-{delivery.run_id.hex}-{span}-01"),
        ("countwheel-job-id", str(delivery.job_id)),
        ("countwheel-run-id", run_id),
        ("countwheel-attempt", str(delivery.attempt)),
        ("countwheel-fence", str(delivery.fence)),
        ("countwheel-scheduled-for", format_instant(delivery.scheduled_for)),
        ("countwheel-trigger", delivery.trigger),
        *delivery.callback_headers,
    )
    return Call(delivery.url, headers, delivery.body, delivery.timeout_seconds, delivery.method)
