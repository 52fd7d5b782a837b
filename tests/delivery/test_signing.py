"""W1: Standard Webhooks signatures, checked by the PyPI verifier."""

import base64
import hmac
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from countwheel.clock import SystemClock
from countwheel.delivery.request import Credentials, Delivery, build_call
from countwheel.delivery.signing import SECRET_BYTES, format_secret, parse_secret, sign
from countwheel.delivery.wire import encode_head

secrets = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
RUN = UUID("01a2d043-4800-85f5-a8b9-e01947c91b19")


def delivery(body: bytes, **changes) -> Delivery:
    fields = {
        "run_id": RUN,
        "job_id": UUID(int=1),
        "attempt": 1,
        "fence": 1,
        "scheduled_for": datetime(2027, 1, 1, 8, tzinfo=UTC),
        "trigger": "schedule",
        "url": "https://example.com/",
        "body": body,
        "timeout_seconds": 30.0,
    }
    return Delivery(**(fields | changes))


def headers_of(body: bytes, keys: list[bytes], **changes) -> dict[str, str]:
    now = SystemClock().now()
    call = build_call(delivery(body, **changes), Credentials(keys), now=now, user_agent="x")
    _, *lines = encode_head(call).decode().removesuffix("\r\n\r\n").split("\r\n")
    return dict(line.split(": ", 1) for line in lines)


@given(secrets, st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_w1_the_verifier_accepts_what_we_sign_and_nothing_else(secret: bytes, payload: dict) -> None:
    """W1: the exact bytes verify; one byte more, another secret or another id do not."""
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    headers = headers_of(body, [secret])
    Webhook(format_secret(secret)).verify(body, headers)
    other = bytes([secret[0] ^ 1]) + secret[1:]
    for verifier, text, changed in (
        (Webhook(format_secret(secret)), body + b" ", headers),
        (Webhook(format_secret(other)), body, headers),
        (Webhook(format_secret(secret)), body, headers | {"webhook-id": "another"}),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(text, changed)


def test_two_secrets_give_two_signatures() -> None:
    """During a rotation a receiver with either secret verifies."""
    old, new = bytes(32), bytes([1] * 32)
    headers = headers_of(b"{}", [new, old])
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        Webhook(format_secret(secret)).verify(b"{}", headers)


def test_w3_every_attempt_carries_its_place() -> None:
    """W3: id, key and trace are the run's on every attempt; attempt, fence and the trace's span are the attempt's."""
    first, second = (
        headers_of(b"{}", [bytes(32)], attempt=attempt, fence=fence) for attempt, fence in ((1, 1), (2, 3))
    )
    same = {name for name in first if first[name] == second[name]} - {"webhook-timestamp", "webhook-signature"}
    assert {"webhook-id", "idempotency-key", "countwheel-job-id", "countwheel-scheduled-for"} <= same
    assert (second["countwheel-attempt"], second["countwheel-fence"]) == ("2", "3")
    version, trace, span, flags = first["traceparent"].split("-")
    assert (version, trace, len(span), flags) == ("00", RUN.hex, 16, "01")
    assert second["traceparent"].split("-")[1] == trace
    assert second["traceparent"].split("-")[2] != span
    assert first["countwheel-scheduled-for"] == "2027-01-01T08:00:00.000Z"


@given(secrets)
def test_secrets_are_shown_as_receivers_know_them(secret: bytes) -> None:
    """whsec_ and base64, there and back."""
    assert parse_secret(format_secret(secret)) == secret
    with pytest.raises(ValueError, match="whsec_"):
        parse_secret("whsec_!!!")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_hash_is_the_standard_librarys(secret: bytes, content: bytes) -> None:
    """A key of any length, a message of any: HMAC-SHA256 as `hmac` computes it."""
    expected = base64.b64encode(hmac.digest(secret, b"id.1." + content, "sha256")).decode()
    assert sign([secret], "id", 1, content) == f"v1,{expected}"
