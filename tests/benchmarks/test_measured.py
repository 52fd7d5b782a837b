"""What a row has measured is counted and told rightly."""

import json

import pytest

from benchmarks.measured import Faults, Goal, Measurement, Result, Spread, percentile, readable


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.991, 100)])
def test_percentile_is_the_nearest_rank(share, expected):
    """The value that so many of a hundred do not exceed is a value that was seen."""
    assert percentile(range(1, 101), share) == expected


def test_percentile_of_nothing_is_nothing():
    """A round without calls has no lateness, and no error either: what is missing is counted elsewhere."""
    assert percentile([], 0.99) == 0.0


def test_spread_is_median_least_and_most():
    """Rounds are told by their median, and by how far they lie apart."""
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)


def test_goal_is_met_at_its_bound():
    """A goal is reached by the figure itself, from the side that counts."""
    assert Goal("x", "ms", at_most=3.0).is_met(3.0)
    assert not Goal("x", "ms", at_most=3.0).is_met(3.01)
    assert not Goal("x", "runs/s", at_least=20_000).is_met(19_999)


def test_faults_of_every_round_count():
    """One double in one round of many is a double of the case."""
    case = Measurement("case", [Faults().figures(), Faults(doubles=1, missing=2).figures()])
    assert case.faults == Faults(doubles=1, missing=2)
    assert case.faults
    assert not Faults()


def test_result_survives_its_file():
    """What is written as JSON is read back as it was."""
    case = Measurement(
        "case", [{"p99_ms": 1.5}, {"p99_ms": 2.5}], [Goal("p99_ms", "ms", at_most=3.0)], {"p99_ms": [1.0]}
    )
    result = Result("row", "S0 row", "python -m benchmarks row", "2026-01-01T00:00:00+00:00", {"cores": 2}, [case])
    document = json.loads(json.dumps(result.to_json()))
    assert document["cases"][0]["medians"] == {"p99_ms": {"median": 2.0, "least": 1.5, "most": 2.5}}
    assert Result.from_json(document) == result


@pytest.mark.parametrize(
    ("value", "expected"), [(20_000.4, "20,000"), (3.0, "3"), (0.00123, "0.00123"), (12.3456, "12.35"), (0, "0")]
)
def test_figures_have_the_digits_that_anybody_can_use(value, expected):
    """A rate needs no decimals, a small share needs three digits."""
    assert readable(value) == expected
