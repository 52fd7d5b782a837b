"""A bucket that fills at a rate: over any span no more goes through than the rate and one second's worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.quota import Bucket


@given(
    rate=st.floats(0.01, 1000),
    steps=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_no_more_goes_through_than_the_rate(rate: float, steps: list[tuple[float, int]]) -> None:
    """What was taken by any moment is at most the burst, the rate times the time, and the last thing begun."""
    now, taken, largest = 100.0, 0, 0
    bucket = Bucket.full(rate, now)
    for pause, count in steps:
        now += pause
        if bucket.take(count, now) == 0:
            taken += count
            largest = max(largest, count)
        assert taken <= max(1.0, rate) + rate * (now - 100.0) + largest + 1e-6


@given(rate=st.floats(0.01, 1000), count=st.integers(1, 1000))
def test_the_wait_that_is_told_is_long_enough(rate: float, count: int) -> None:
    """Whoever comes again after it is let through, and not before."""
    bucket = Bucket.full(rate, 0.0)
    while (wait := bucket.take(count, 0.0)) == 0:
        pass
    assert bucket.take(1, wait * 0.99) > 0
    assert bucket.take(1, wait * 1.001 + 1e-6) == 0


def test_what_is_charged_is_worked_off() -> None:
    """A hundred that were done at once at ten a second: the next one waits for them."""
    bucket = Bucket.full(10.0, 0.0)
    assert bucket.take(1, 0.0) == 0
    bucket.charge(99, 0.0)
    assert bucket.take(1, 0.0) == pytest.approx(9.1)
