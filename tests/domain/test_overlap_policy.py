"""P1: what becomes of a due occurrence, by policy and by what else of its job is alive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.overlap import Run, Skip, Wait, decide
from countwheel.domain.policy import QUEUE_ALL_LIMIT, Overlap


@pytest.mark.parametrize("policy", Overlap)
def test_p1_alone_it_runs(policy: Overlap) -> None:
    """Nothing earlier is alive: no policy keeps it."""
    assert decide(policy, 0) == Run()


@pytest.mark.parametrize(
    ("policy", "earlier", "expected"),
    [
        (Overlap.SKIP, 1, Skip),
        (Overlap.ALLOW, 5, Run),
        (Overlap.QUEUE_ONE, 1, Wait),
        (Overlap.QUEUE_ONE, 2, Skip),
        (Overlap.QUEUE_ALL, QUEUE_ALL_LIMIT, Wait),
        (Overlap.QUEUE_ALL, QUEUE_ALL_LIMIT + 1, Skip),
        (Overlap.CANCEL_RUNNING, 1, Wait),
    ],
)
def test_p1_each_policy_is_kept(policy: Overlap, earlier: int, expected: type) -> None:
    """Skipped, waiting up to the cap, beside, or in the place of the earlier one."""
    decided = decide(policy, earlier)
    assert isinstance(decided, expected)
    assert (policy is Overlap.CANCEL_RUNNING) == (isinstance(decided, Wait) and decided.cancel_earlier)


@given(st.sampled_from(Overlap), st.integers(0, 2_000))
def test_p1_what_does_not_run_says_why(policy: Overlap, earlier: int) -> None:
    """Every skip names its policy."""
    decided = decide(policy, earlier)
    if isinstance(decided, Skip):
        assert f"overlap policy {policy}" in decided.reason
