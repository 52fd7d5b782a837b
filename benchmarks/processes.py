"""What processes have cost, read from `/proc`: so that it is seen who is the bottleneck."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of `/proc/PID/stat`, counted behind the name, which may hold anything."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return how much CPU these processes have used. One that has ended counts as nothing."""
    return sum((int(found[_USER]) + int(found[_SYSTEM])) / _TICKS for pid in pids if (found := _stat(pid)))


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))):
            children.setdefault(int(found[_PARENT]), []).append(int(entry.name))
    members = [pid]
    for member in members:
        members += children.get(member, [])
    return members


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except OSError:
        return []
