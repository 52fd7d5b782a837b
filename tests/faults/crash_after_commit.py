"""`python -m crash_after_commit dev`: Countwheel that kills itself between a create's commit and its answer.

The file COUNTWHEEL_TEST_CRASH says whether: `after` the commit, `before` it, or nothing while it does not exist.
"""

import os
import signal
from pathlib import Path

from countwheel.cli.app import main
from countwheel.store import jobs

_FLAG = Path(os.environ["CRASH_FLAG"])
_create = jobs.create


def _moment() -> str:
    return _FLAG.read_text(encoding="utf-8") if _FLAG.exists() else ""


async def _create_and_crash(connection, *batch):
    if _moment() == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    created = await _create(connection, *batch)
    if _moment() == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return created


jobs.create = _create_and_crash
main()
