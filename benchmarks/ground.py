"""The ground that every contender stands on: the PostgreSQL that we ship, as `countwheel dev` sets it, and a sink."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.stage import Sink, free_port, start
from countwheel.clock import SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Ground:
    """A running PostgreSQL, empty, and a running sink."""

    dsn: str
    postgres_pid: int
    sink: Sink

    @property
    def sink_url(self) -> str:
        """Where the sink is called."""
        return self.sink.url


@asynccontextmanager
async def ground(settings: Mapping[str, str] | None = None) -> AsyncIterator[Ground]:
    """Lend a fresh PostgreSQL (durable: fsync is on) and a sink until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    postgres = EmbeddedPostgres(folder / "data", SystemClock(), progress=lambda _: None, settings=settings)
    port = free_port()
    sink = None
    try:
        dsn = await postgres.start()
        sink = await start("benchmarks.sink", str(port), str(folder / "receipts"), until=b"listening")
        async with aiohttp.ClientSession() as session:
            receiver = Sink(f"http://127.0.0.1:{port}", sink.pid, folder / "receipts", session)
            yield Ground(dsn, postgres.pid or 0, receiver)
    finally:
        if sink is not None:
            if sink.returncode is None:
                sink.terminate()
            await sink.communicate()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
