"""What a job says of its calls, read and judged."""

import json

import pytest

from countwheel.api.contract import load_contract
from countwheel.domain.calling import (
    HEADER_NAME_PATTERN,
    PLAIN,
    RESERVED_HEADERS,
    SecretName,
    decode,
    encode,
    find_calling_faults,
    written,
)
from countwheel.domain.policy import Backoff, Jitter, RetryPolicy

JOB = {"schedule_oneoff": "2190-01-01T09:00:00+01:00", "job_url": "https://example.com/hook"}

FULL = {
    "retry": {"backoff": "linear", "first_delay_seconds": 2, "jitter": "none", "retry_statuses": [404, "5xx"]},
    "headers": {"X-Env": "prod", "X-Api-Key": {"secret": "partner-key"}},
    "authorization": {"type": "basic", "username": "us", "secret": "partner-password"},
    "signatures": ["v1", "v1a"],
    "flow": "partner",
    "callback": {"deadline_seconds": 3600, "heartbeat_seconds": 60},
    "cancel_url": "https://example.com/cancel",
    "cancel_method": "POST",
    "on_failure": "https://example.com/failed",
}


def test_what_is_stored_is_what_was_submitted() -> None:
    """Every field comes back as it came; a job that says nothing stores nothing."""
    assert written(encode(JOB | FULL)) == FULL
    assert (encode(JOB), written(None), decode(None)) == (None, {}, PLAIN)
    assert load_contract().faults("JobSubmission", JOB | FULL) == []


def test_what_is_stored_is_read() -> None:
    """Names of secrets are told from values, classes of statuses are spelled out."""
    read = decode(encode(FULL))
    assert read.headers == (("x-env", "prod"), ("x-api-key", SecretName("partner-key")))
    assert read.secret_names() == {"partner-key", "partner-password"}
    assert read.retry.retry_statuses == {404, *range(500, 600)}
    assert (read.retry.backoff, read.retry.jitter) == (Backoff.LINEAR, Jitter.NONE)
    assert read.callback is not None
    assert read.callback.heartbeat_seconds == 60


def _refuses_nothing(_url: str) -> None:
    """A deployment that lets every URL through."""


@pytest.mark.parametrize("name", [*sorted(RESERVED_HEADERS), "countwheel-fence", "webhook-id", "Authorization", "HOST"])
def test_w4_reserved_headers_are_refused(name: str) -> None:
    """Whatever the case, by the contract's own schema, and with a reason that names the header."""
    body = JOB | {"headers": {name: "x"}}
    assert load_contract().faults("JobSubmission", body) != []
    assert [fault.pointer for fault in find_calling_faults(body, _refuses_nothing)] == [f"#/headers/{name}"]


def test_a_header_that_only_begins_like_a_reserved_one_is_free() -> None:
    """`host-id` is not `host`."""
    body = JOB | {"headers": {"host-id": "x", "viaduct": "y"}}
    assert load_contract().faults("JobSubmission", body) == []
    assert HEADER_NAME_PATTERN.startswith("^")


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"headers": {"X-A": "1", "x-a": "2"}}, "#/headers/x-a"),
        ({"on_failure": "ftp://example.com"}, "#/on_failure"),
        ({"callback": {"deadline_seconds": 10, "heartbeat_seconds": 20}}, "#/callback/heartbeat_seconds"),
        ({"retry": {"first_delay_seconds": 10, "max_delay_seconds": 5}}, "#/retry/max_delay_seconds"),
    ],
)
def test_what_means_nothing_is_refused_by_name(said: dict, pointer: str) -> None:
    """What no schema can say has its own fault, with a pointer."""
    assert [fault.pointer for fault in find_calling_faults(said, _refuses_nothing)] == [pointer]


@pytest.mark.parametrize("said", [{"headers": 3}, {"callback": "x"}, {"retry": []}, {"on_failure": 1}])
def test_a_wrong_shape_is_left_to_the_schema(said: dict) -> None:
    """A field of the wrong type brings no fault of meaning, and no crash."""
    assert list(find_calling_faults(said, _refuses_nothing)) == []
    assert load_contract().faults("JobSubmission", JOB | said) != []


@pytest.mark.parametrize(
    ("backoff", "ceilings"),
    [
        (Backoff.EXPONENTIAL, [10, 20, 40, 60, 60]),
        (Backoff.LINEAR, [10, 20, 30, 40, 50]),
        (Backoff.FIXED, [10, 10, 10, 10, 10]),
    ],
)
def test_w9_the_delay_grows_as_the_job_says(backoff: Backoff, ceilings: list[float]) -> None:
    """Doubling, by the first delay, or not at all; never over the longest."""
    policy = RetryPolicy(backoff=backoff, max_delay_seconds=60)
    assert [policy.ceiling_seconds(made) for made in range(1, 6)] == ceilings


def test_no_plain_text_of_a_secret_is_in_what_is_stored() -> None:
    """The stored text has names of secrets only: there is no field that would take a value."""
    assert json.loads(encode(FULL) or "")["authorization"].keys() == {"type", "username", "secret"}
