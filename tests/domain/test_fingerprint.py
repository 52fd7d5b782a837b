"""Failures that look alike: what does not matter to a fingerprint, and what does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.attempt import Failure, FailureKind, Response
from countwheel.domain.fingerprint import class_of, class_of_text, fingerprint, normalised

TEMPLATES = (
    "connect: Cannot connect to host {} ssl:default",
    "disconnected: peer {} closed after {} bytes",
    "HTTP {} Service Unavailable",
    "timeout: {}",
    "tls: certificate {} has expired at {}",
)
VARYING = st.one_of(
    st.integers(min_value=0).map(str),
    st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e6).map(str),
    st.uuids().map(str),
    st.uuids().map(lambda uuid: uuid.hex),
    st.ip_addresses().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
)


@given(st.text(max_size=3000), st.text(max_size=300), st.text(max_size=80))
def test_any_text_has_a_fingerprint(error: str, target: str, error_class: str) -> None:
    """Never raises, lone surrogates and control characters included; 16 hexadecimal characters."""
    found = fingerprint(target, error_class, error)
    assert len(found) == 16
    assert int(found, 16) >= 0


@given(st.one_of(st.text(max_size=1500), st.text(alphabet="a0#(). :-,/", max_size=80)))
def test_normalising_twice_changes_nothing(error: str) -> None:
    """Idempotent, and bounded."""
    once = normalised(error)
    assert normalised(once) == once
    assert len(once) <= 300


@given(st.sampled_from(TEMPLATES), st.lists(VARYING, min_size=4, max_size=4))
def test_numbers_ids_addresses_and_times_do_not_matter(template: str, values: list[str]) -> None:
    """The same sentence about another thing is the same failure."""
    first, second = template.format(*values[:2]), template.format(*values[2:])
    assert fingerprint("example.com", "x", first) == fingerprint("example.com", "x", second)


def test_an_id_of_letters_alone_does_not_matter() -> None:
    """Rare, and drawn by no generator."""
    assert (
        normalised("no aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee here") == normalised("no deadbeefdead here") == "no # here"
    )


def test_which_attempt_was_the_last_and_why_does_not_matter() -> None:
    """The aside in parentheses says how the run ended, and not what its target did."""
    assert normalised("HTTP 503 Service Unavailable (attempt 5 of 5, the last)") == "HTTP # Service Unavailable"
    held = "disconnected: gone (the target may have received it; held, because the job says so (on_unknown: hold))"
    assert normalised(held) == "disconnected: gone"


def test_target_class_and_words_matter() -> None:
    """Each by itself makes another failure."""
    given = ("a.example", "dns", "dns: no such host")
    others = {("b.example", *given[1:]), (given[0], "tls", given[2]), (*given[:2], "dns: server failure")}
    assert fingerprint(*given) not in {fingerprint(*other) for other in others}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Response(503, b""), "http_503"),
        (Response(204, b""), None),
        (Failure(FailureKind.TIMEOUT, "x", maybe_sent=True), "timeout"),
        (None, None),
    ],
)
def test_the_class_of_an_attempt(result, expected) -> None:
    """The kind of failure, or the status."""
    assert class_of(result) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("lost: node x was lost", "lost"),
        ("parked: 20 nodes", "parked"),
        ("replaced by a later run", "other"),
        ("", "other"),
    ],
)
def test_the_class_that_a_text_begins_with(error: str, expected: str) -> None:
    """What has no result of an attempt says its class itself."""
    assert class_of_text(error) == expected
