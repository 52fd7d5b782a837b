"""Every kind of hostile target beside a healthy one, with real processes; `python -m chaos --hostile` says more."""

from collections import Counter
from collections.abc import Callable

import pytest

from chaos.hostile import beside_hostile

pytestmark = pytest.mark.alone


async def test_hostile_targets_end_for_what_they_are_and_hold_up_no_healthy_one(
    report_line: Callable[[str], None],
) -> None:
    """Each run ends with the right outcome and class of error, memory is bounded, and the healthy target is called."""
    seen = await beside_hostile(healthy_rate=50, hostile_rate=2, seconds=6)
    report_line(seen.text())
    expected = {
        "hang": "FAILED timeout",
        "trickle": "FAILED timeout",
        "endless": "SUCCEEDED 200",
        "bomb": "SUCCEEDED 200",
        "headers": "FAILED protocol",
        "reset": "FAILED disconnected",
        "garbage": "FAILED protocol",
        "redirects": "FAILED http_302",
    }
    assert seen.outcomes == {kind: Counter({outcome: 12}) for kind, outcome in expected.items()}
    assert seen.healthy == 300
    assert seen.healthy_p99_ms < 1_000, "how punctual a quiet machine is, the drill itself measures: 4 ms"
    assert seen.peak_mib < 256
