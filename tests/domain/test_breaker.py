"""The breaker's laws: when it opens, that it lets one probe through at a time, and that it closes again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.attempt import Failure, FailureKind, Response
from countwheel.domain.breaker import (
    CLOSED,
    FAILED_SHARE,
    FORGOTTEN_AFTER,
    LEAST_OUTCOMES,
    LONGEST_OPEN_SECONDS,
    PROBE_PATIENCE,
    PROBES_TO_CLOSE,
    WINDOW_SECONDS,
    Breaker,
    Phase,
    Sign,
    Window,
    opened,
    probed,
    probing,
    sign_of,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
JITTER = st.floats(0, 1)


def open_for_good(times: int) -> Breaker:
    """A breaker that has opened and failed its probes."""
    state, now = opened(CLOSED, NOW, reason="x", jitter=0), NOW
    for _ in range(times):
        assert state.open_until is not None
        now = state.open_until
        state = probed(probing(state, now), now, well=False, reason="x", jitter=0)
    return state


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        *((Response(status, b""), Sign.WELL) for status in (200, 204, 301, 400, 404, 410)),
        *((Response(status, b""), Sign.FAILED) for status in (500, 502, 504, 599)),
        *((Response(status, b""), Sign.TOO_MUCH) for status in (429, 503)),
        *((Failure(kind, "", maybe_sent=False), Sign.FAILED) for kind in ("dns", "connect", "tls", "timeout")),
        *((Failure(FailureKind(kind), "", maybe_sent=True), Sign.NOTHING) for kind in ("blocked", "aborted", "lost")),
    ],
)
def test_what_an_outcome_says_of_its_target(result: Response | Failure, sign: Sign) -> None:
    """Faults and 5xx are failures, 429 and 503 ask for less, other 4xx speak of the call, our own doing of nothing."""
    assert sign_of(result) is sign


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200))
def test_it_opens_for_the_share_of_the_last_seconds(steps: list[tuple[int, bool]]) -> None:
    """The window says to open exactly where enough outcomes of the last thirty seconds were failures."""
    window, second, counted = Window(), 0, list[tuple[int, bool]]()
    for step, failed in steps:
        second += step
        window.add(second, failed=failed)
        counted.append((second, failed))
        recent = [failed for at, failed in counted if at > second - WINDOW_SECONDS]
        should_open = len(recent) >= LEAST_OUTCOMES and sum(recent) >= FAILED_SHARE * len(recent)
        assert (window.why_open(second) is not None) is should_open
    assert window.is_empty(second + WINDOW_SECONDS)


@given(st.integers(0, 20), JITTER)
def test_each_opening_is_longer_up_to_a_bound(times: int, jitter: float) -> None:
    """Five seconds, doubling to five minutes, and up to a quarter more by chance."""
    state = open_for_good(times)
    assert state.open_until is not None
    again = probed(state, state.open_until, well=False, reason="x", jitter=jitter)
    assert again.open_until is not None
    seconds = (again.open_until - state.open_until).total_seconds()
    least = min(5 * 2 ** (times + 1), LONGEST_OPEN_SECONDS)
    assert least <= seconds <= least * 1.25
    assert again.opened_at == NOW, "it has been open since then"


@given(st.lists(st.booleans(), max_size=30))
def test_it_closes_after_probes_that_succeed_in_a_row(outcomes: list[bool]) -> None:
    """And not before: a failure in between opens it again."""
    state, now, row = opened(CLOSED, NOW, reason="x", jitter=0), NOW, 0
    for well in outcomes:
        if state.open_until is None:
            break
        now = max(now, state.open_until)
        assert state.phase(now - timedelta(microseconds=1)) is not Phase.CLOSED
        assert state.may_probe(now)
        state = probing(state, now)
        assert not state.may_probe(now), "one at a time"
        state = probed(state, now, well=well, reason="x", jitter=0)
        row = row + 1 if well else 0
        assert (state.phase(now) is Phase.CLOSED) is (row == PROBES_TO_CLOSE)


def test_a_probe_that_is_lost_holds_up_none() -> None:
    """A probe whose node died is waited for, and then another one leaves."""
    state = opened(CLOSED, NOW, reason="x", jitter=0)
    now = NOW + timedelta(seconds=6)
    state = probing(state, now)
    assert not state.may_probe(now + PROBE_PATIENCE - timedelta(seconds=1))
    assert state.may_probe(now + PROBE_PATIENCE)


def test_what_comes_late_changes_nothing() -> None:
    """Calls that were under way when it opened say nothing new; neither does a probe after it has opened again."""
    state = opened(CLOSED, NOW, reason="first", jitter=0)
    assert opened(state, NOW, reason="second", jitter=0) == state
    assert probed(state, NOW, well=True, reason="late", jitter=0) == state
    assert probed(CLOSED, NOW, well=False, reason="late", jitter=0) == CLOSED


def test_an_opening_is_forgotten_after_a_while() -> None:
    """Soon after it has closed the next opening is longer than the one before; much later it is a first one."""
    state = Breaker(opened_at=NOW, openings=3)
    soon = opened(state, NOW + timedelta(seconds=60), reason="x", jitter=0)
    late = opened(state, NOW + FORGOTTEN_AFTER + timedelta(seconds=1), reason="x", jitter=0)
    assert (soon.openings, late.openings) == (4, 1)
