"""What a benchmark runs on: `countwheel dev` and a sink, each in a process of its own, on a fresh data directory."""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from countwheel.client import Countwheel
from countwheel.client.credentials import load

CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server and a running sink."""

    url: str
    sink_url: str
    token: str
    dsn: str
    session: aiohttp.ClientSession
    server_pid: int

    async def create(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Create jobs, one a call, as a number of clients would."""
        waiting = iter(jobs)
        headers = {"Authorization": f"Bearer {self.token}"}

        async def client() -> None:
            for job in waiting:
                async with self.session.post(f"{self.url}/v1/jobs", json=job, headers=headers) as response:
                    if response.status != 201:
                        raise RuntimeError(await response.text())
                    await response.read()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def reset_sink(self) -> None:
        """Let the sink forget what it has counted."""
        async with self.session.get(f"{self.sink_url}/reset") as response:
            await response.read()

    async def sink_summary(self) -> dict[str, Any]:
        """Return what the sink has counted since it was reset."""
        async with self.session.get(f"{self.sink_url}/summary") as response:
            summary: dict[str, Any] = await response.json(content_type=None)
            return summary


@asynccontextmanager
async def stage(**environment: str) -> AsyncIterator[Stage]:
    """Run a server and a sink until the block ends."""
    data_dir = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    port, sink_port = free_port(), free_port()
    server = await start(
        "countwheel", "dev", until=b"See it arrive",
        COUNTWHEEL_PORT=str(port), COUNTWHEEL_DATA_DIR=str(data_dir), COUNTWHEEL_LOG_LEVEL="warning", **environment,
    )  # fmt: skip
    sink = await start("benchmarks.sink", str(sink_port), until=b"listening")
    try:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            token = await asyncio.to_thread(Countwheel(load(data_dir)).fetch_token)
            yield Stage(
                f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sink_port}", token, _dsn(data_dir), session, server.pid
            )
    finally:
        for process in (server, sink):
            if process.returncode is None:
                process.terminate()
            await process.communicate()
        shutil.rmtree(data_dir, ignore_errors=True)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def wait_until_drained(dsn: str) -> float:
    """Return when no run is live any more: the wall-clock moment at which that was seen."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            row = await (await connection.execute("SELECT EXISTS (SELECT FROM runs), clock_timestamp()")).fetchone()
            if row is not None and not row[0]:
                return float(row[1].timestamp())
            await asyncio.sleep(0.05)


def _dsn(data_dir: Path) -> str:
    password = (data_dir / "postgres.password").read_text(encoding="utf-8")
    return f"host='{data_dir}/socket' user=countwheel dbname=countwheel password='{password}'"


async def start(module: str, *arguments: str, until: bytes, **environment: str) -> asyncio.subprocess.Process:
    """Start a module in a process of its own, and return when it has printed `until`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COUNTWHEEL_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env=inherited | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
    )
    if process.stdout is None:
        raise RuntimeError("no output to read")
    while until not in (line := await process.stdout.readline()):
        if not line:
            raise RuntimeError(f"{module} ended with {await process.wait()}")
    return process
