"""A node under test: `python -m chaos.node serve ...` is `countwheel serve ...` with a few things changed.

Its wall clock can be stepped from outside, through the clock that is injected anyway: CHAOS_CLOCK names a file with the
offset in seconds. CHAOS_MUTATION names a prevention to take out (see mutations.py). With CHAOS_BLIND set the node does
not know its machine: its death is found out by its lease alone, as between machines.
"""

import mmap
import os
import struct
from datetime import datetime, timedelta
from pathlib import Path

from chaos import mutations
from countwheel import assembly
from countwheel.cli.app import main
from countwheel.clock import SystemClock

OFFSET = struct.Struct("d")


class SteppedClock(SystemClock):
    """The machine's clock, and an offset that somebody else sets."""

    def __init__(self) -> None:
        with Path(os.environ["CHAOS_CLOCK"]).open("rb") as file:
            self._offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    def now(self) -> datetime:
        """Return the stepped instant."""
        return super().now() + timedelta(seconds=OFFSET.unpack_from(self._offset)[0])


def set_offset(path: Path, seconds: float) -> None:
    """Step the clock of the node that reads `path`."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(OFFSET.pack(seconds))


if __name__ == "__main__":
    if os.environ.get("CHAOS_BLIND"):
        assembly.machine_id = lambda: None  # type: ignore[attr-defined] # as if its peers ran on other machines
    assembly.SystemClock = SteppedClock  # type: ignore[attr-defined] # the one seam: a node gets its clock there
    mutations.apply(os.environ.get("CHAOS_MUTATION", ""))
    main()
