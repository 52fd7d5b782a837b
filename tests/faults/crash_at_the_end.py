"""`python -m crash_at_the_end dev`: Countwheel that kills itself around the end of a run that somebody is told of.

The file CRASH_FLAG says when: `within` the transaction, when the end is written and nobody is told yet, or `after` its
commit; it is taken away first, so that the next start survives.
"""

import os
import signal
from pathlib import Path

from countwheel.cli.app import main
from countwheel.engine.recorder import Recorder
from countwheel.store import notices

_FLAG = Path(os.environ["CRASH_FLAG"])
_insert, _write = notices.insert, Recorder._write


def _crash_if(moment: str) -> None:
    if _FLAG.exists() and _FLAG.read_text(encoding="utf-8") == moment:
        _FLAG.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def _insert_or_crash(connection, told):
    _crash_if("within")
    await _insert(connection, told)


async def _write_and_crash(self, batch, **options):
    recorded = await _write(self, batch, **options)
    if recorded:
        _crash_if("after")
    return recorded


notices.insert = _insert_or_crash
Recorder._write = _write_and_crash
main()
