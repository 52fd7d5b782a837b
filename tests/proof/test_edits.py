"""Jobs that are changed around their due instants by many clients on two nodes; `python -m chaos --edits`: 10,000."""

from collections.abc import Callable

import pytest

from chaos.edits import play_edits

pytestmark = pytest.mark.alone


async def test_no_change_leaves_a_ghost_run_or_loses_a_plan(report_line: Callable[[str], None]) -> None:
    """Edited, paused, resumed, cancelled, deleted and run within half a second of their time: all is kept."""
    done = await play_edits(240, every_seconds=10, punctual_seconds=2.0)
    report_line(done.text())
    assert done.verdict.passed, done.text()
    kinds = {operation.kind for operation in done.history.operations}
    assert kinds == {"create", "amend", "pause", "resume", "cancel", "delete", "run"}
