"""Starts an embedded PostgreSQL, says its pid, and holds it until this process ends, however it ends."""

import asyncio
import sys
from pathlib import Path

from countwheel.clock import SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres


async def main(data_dir: Path) -> None:
    """Start, tell, wait for the end of standard input, stop."""
    postgres = EmbeddedPostgres(data_dir, SystemClock(), progress=lambda line: print(line, flush=True))  # noqa: T201
    try:
        await postgres.start()
        print(f"pid {postgres.pid}", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await postgres.stop()


asyncio.run(main(Path(sys.argv[1])))
