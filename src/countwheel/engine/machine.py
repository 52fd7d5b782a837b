"""Which processes share a process table, and which of those are gone: a death that can be seen need not be waited for.

Two nodes are on one machine where boot and process namespace are the same; only then does a process id of the one mean
anything to the other. On Linux; elsewhere nothing is known, and a lost node is found out by its lease alone.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Fields of /proc/PID/stat, counted after the process's name (proc(5): fields 3 and 22)."""
_DEAD = frozenset("ZX")


def machine_id() -> str | None:
    """Return what processes have in common that can see each other die, or None where that cannot be told."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def process_started(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the boot, or None where that cannot be told."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields else None


def is_gone(pid: int, started: int | None) -> bool:
    """Whether it is certain that the process which began at `started` under this id runs no more.

    A frozen process is not gone. One that cannot be looked at is not gone either.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    fields = _stat(pid)
    if not fields:
        return False
    return fields[_STATE] in _DEAD or (started is not None and int(fields[_STARTED]) != started)


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
