"""The laws of the pace: no second has more than rate and burst, and a target that asked for less gets it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.breaker import CLOSED, opened, probing
from countwheel.domain.pace import (
    FLOOR_RATE,
    HORIZON,
    LONGEST_HOLD,
    Pace,
    Slowed,
    TargetState,
    late_after,
    may_go,
    restarting,
    slots,
    slow_down,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RATES = st.floats(0.2, 2_000)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@given(
    RATES,
    st.integers(1, 40),
    st.lists(st.tuples(st.floats(0, 1.5), st.integers(0, 300), st.floats(0, 0.3)), max_size=30),
)
def test_no_second_has_more_than_rate_and_burst(
    rate: float, burst: int, decisions: list[tuple[float, int, float]]
) -> None:
    """Whenever and by whom decisions are made, and whatever is due then: slots are never early, and few."""
    pace, now, given_out = Pace(rate_per_second=rate, burst=burst), NOW, list[datetime]()
    for pause, waiting, due_in in decisions:
        now += seconds(pause)
        count = min(waiting, may_go(pace, now=now, in_flight=0, room=256))
        found, following = slots(pace, [now + seconds(due_in)] * count, now=now)
        assert all(slot >= now + seconds(due_in) for slot in found)
        assert found == sorted(found)
        pace = Pace(rate_per_second=rate, burst=burst, next_slot_at=following if found else pace.next_slot_at)
        given_out += found
    for first in given_out:
        within = [slot for slot in given_out if first <= slot < first + SECOND]
        assert len(within) <= rate + burst + 1


@given(RATES)
def test_the_rate_is_reached(rate: float) -> None:
    """Asked every 25 ms for ten seconds, with enough waiting, as many slots are given out as the rate says."""
    pace, given_out = Pace(rate_per_second=rate), 0
    for step in range(400):
        now = NOW + seconds(step * 0.025)
        count = may_go(pace, now=now, in_flight=0, room=1_000)
        found, following = slots(pace, [NOW] * count, now=now)
        pace = Pace(rate_per_second=rate, next_slot_at=following if found else pace.next_slot_at)
        given_out += len(found)
        assert all(slot <= now + HORIZON + seconds(1e-3) for slot in found)
    assert 9.9 * rate - 2 <= given_out <= 10.25 * rate + 2


@given(st.integers(1, 50), st.integers(0, 60), st.integers(-5, 300))
def test_no_more_are_under_way_than_the_limit(limit: int, in_flight: int, room: int) -> None:
    """What is claimed and what is under way are never more than the limit, nor more than there is room for."""
    count = may_go(Pace(max_concurrency=limit), now=NOW, in_flight=in_flight, room=room)
    assert count == max(0, min(limit - in_flight, room))


def test_the_strongest_restriction_is_told() -> None:
    """Paused before open before slowed before limited; and what is over is not told."""
    breaker, slowed = opened(CLOSED, NOW, reason="x", jitter=0), Slowed(1, 2, NOW)
    assert Pace().state(NOW) is TargetState.OK
    assert Pace(breaker_is_off=True).state(NOW) is TargetState.OK
    assert Pace(max_concurrency=1).state(NOW) is TargetState.LIMITED
    assert Pace(rate_per_second=1, slowed=slowed).state(NOW) is TargetState.SLOWED
    assert Pace(slowed=slowed, breaker=breaker).state(NOW) is TargetState.OPEN
    assert Pace(breaker=breaker, breaker_is_off=True).state(NOW) is TargetState.OK
    assert Pace(breaker=breaker, paused=True).state(NOW) is TargetState.PAUSED
    assert Pace(slowed=slowed).state(NOW + seconds(60)) is TargetState.OK


def test_an_open_target_gets_one_probe_and_a_paused_one_none() -> None:
    """Nothing while it is open, one call when it is half open, and no second one beside it."""
    breaker = opened(CLOSED, NOW, reason="x", jitter=0)
    later = NOW + seconds(6)
    assert may_go(Pace(breaker=breaker), now=NOW, in_flight=0, room=9) == 0
    assert may_go(Pace(breaker=breaker), now=later, in_flight=0, room=9) == 1
    assert may_go(Pace(breaker=probing(breaker, later)), now=later, in_flight=0, room=9) == 0
    assert may_go(Pace(breaker=breaker, paused=True), now=later, in_flight=0, room=9) == 0


@given(st.floats(0, 5_000))
def test_a_target_that_asks_for_less_gets_half_and_recovers(seen: float) -> None:
    """Half of what was seen, not below the floor; it grows step by step, and one day nothing holds it back."""
    slowed = slow_down(Pace(), now=NOW, seen_rate=seen, retry_after=None)
    assert slowed.rate == max(FLOOR_RATE, seen / 2)
    pace, rates = Pace(slowed=slowed), list[float]()
    for second in range(120):
        now = NOW + seconds(second)
        if pace.state(now) is TargetState.OK:
            break
        rates.append(pace.rate_at(now) or 0.0)
    assert rates == sorted(rates)
    assert len(rates) < 60
    assert rates[-1] >= max(seen, FLOOR_RATE)


def test_answers_of_one_moment_are_one_sign() -> None:
    """Within a second it is slowed down once; after it, by half of what it had grown to."""
    first = slow_down(Pace(), now=NOW, seen_rate=80, retry_after=None)
    again = slow_down(Pace(slowed=first), now=NOW + seconds(0.9), seen_rate=80, retry_after=None)
    assert again == first
    later = slow_down(Pace(slowed=first), now=NOW + seconds(1), seen_rate=80, retry_after=None)
    assert later.rate == pytest.approx(22)


def test_retry_after_is_followed_up_to_an_hour() -> None:
    """No call begins before it, and the recovery begins then."""
    slowed = slow_down(Pace(), now=NOW, seen_rate=10, retry_after=seconds(30))
    pace = Pace(slowed=slowed)
    assert may_go(pace, now=NOW + seconds(29), in_flight=0, room=9) == 0
    assert may_go(pace, now=NOW + seconds(30), in_flight=0, room=9) > 0
    assert pace.rate_at(NOW + seconds(30)) == 5
    assert slow_down(Pace(), now=NOW, seen_rate=1, retry_after=seconds(1e6)).at == NOW + LONGEST_HOLD
    longer = slow_down(pace, now=NOW + seconds(0.1), seen_rate=1, retry_after=seconds(60))
    assert longer.at == NOW + seconds(60.1)


def test_the_lower_of_two_rates_holds() -> None:
    """What people have limited is never exceeded by a target that recovers; nor does it burst meanwhile."""
    pace = Pace(rate_per_second=20, burst=10, slowed=restarting(NOW))
    assert pace.rate_at(NOW) == 10
    assert pace.burst_at(NOW) == 1
    assert pace.rate_at(NOW + seconds(20)) == 20
    assert pace.burst_at(NOW + seconds(60)) == 10


def test_a_slot_is_given_up_after_50_ms_or_half_of_the_way() -> None:
    """So that what a stall has held back neither leaves at once nor, where calls are few, is held back again."""
    assert late_after(Pace(rate_per_second=50), NOW) == seconds(0.05)
    assert late_after(Pace(rate_per_second=0.5), NOW) == seconds(1)
    assert late_after(Pace(max_concurrency=1), NOW) == seconds(0.05)
