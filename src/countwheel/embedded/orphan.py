"""A `postmaster.pid` from before: an orphan that is still shutting down, or a leftover of a power cut."""

import os
import signal
import subprocess
from pathlib import Path

from countwheel.clock import Clock
from countwheel.embedded.errors import EmbeddedPostgresError

_PROC = Path("/proc")
_PATIENCE_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.05


async def clear(cluster: Path, clock: Clock) -> None:
    """Wait for an orphan to end (asking it to, if need be), or remove a leftover file.

    The caller holds the data directory's lock, so whoever runs on it is nobody's. A pid that belongs to another program
    by now (it was given out again after a power cut) is not touched. Raises `EmbeddedPostgresError` if an orphan stays.
    """
    pid_file = cluster / "postmaster.pid"
    pid = _read_pid(pid_file)
    if pid is None:
        return
    give_up_at = clock.monotonic() + _PATIENCE_SECONDS
    asked = False
    while _is_ours(pid, cluster):
        if clock.monotonic() > give_up_at:
            raise EmbeddedPostgresError(
                f"a PostgreSQL from before (process {pid}) does not end on {cluster}: "
                f"look into {cluster.parent}/postgres.log"
            )
        if not asked:
            os.kill(pid, signal.SIGINT)
            asked = True
        await clock.sleep(_LOOK_EVERY_SECONDS)
    pid_file.unlink(missing_ok=True)


def _read_pid(pid_file: Path) -> int | None:
    try:
        return abs(int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0]))
    except FileNotFoundError:
        return None
    except ValueError:
        pid_file.unlink(missing_ok=True)  # cut short while it was written
        return None


def _is_ours(pid: int, cluster: Path) -> bool:
    """Whether `pid` is a PostgreSQL that runs on this cluster: its working directory is the cluster."""
    if _PROC.is_dir():
        try:
            return (_PROC / str(pid) / "cwd").readlink() == cluster.resolve()
        except OSError:
            return False
    command = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    return str(cluster) in subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 (fixed)
