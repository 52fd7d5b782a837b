"""Runs a peer's harness on a ground: its commands one after another, its workers in processes beside."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.ground import Ground
from benchmarks.peers import install
from benchmarks.peers.peer import Peer

_CONNECTIONS = 64
"""To the sink, a worker."""
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


class Running:
    """A peer, and the PostgreSQL and the sink that it works on."""

    def __init__(self, peer: Peer, on: Ground) -> None:
        self.peer = peer
        self.on = on
        found = conninfo_to_dict(on.dsn)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COUNTWHEEL_", "PG"))},
            **{variable: str(found[name]) for name, variable in _VARIABLES.items()},
            "NODE_PATH": str(install.NODE_MODULES),
            "NODE_ENV": "production",
        }

    async def tell(self, command: str, **settings: object) -> dict[str, Any]:
        """Run one command to its end, and return what it tells."""
        process = await self._start(command, settings)
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{self.peer.name}: {command} ended with {process.returncode}")
        told: dict[str, Any] = json.loads(output.splitlines()[-1])
        return told

    @asynccontextmanager
    async def workers(self, number: int, crons: int = 0) -> AsyncIterator[list[int]]:
        """Have so many workers consume until the block ends; lends their process ids."""
        settings = {"sink": self.on.sink.url, "connections": _CONNECTIONS, "crons": crons, **self.peer.worker}
        started: list[asyncio.subprocess.Process] = []
        try:
            for _ in range(number):
                started.append(await self._start("work", settings))
                await _wait_until_ready(started[-1], self.peer.name)
            yield [process.pid for process in started]
        finally:
            for process in started:
                await _stop(process)

    async def wait_until_done(self, look_seconds: float = 0.005) -> float:
        """Return when no job is left: the wall-clock moment at which that was seen."""
        query = f"SELECT ({self.peer.is_left}), clock_timestamp()"
        async with await psycopg.AsyncConnection.connect(self.on.dsn, autocommit=True) as connection:
            while True:
                row = await (await connection.execute(query)).fetchone()
                if row is not None and not row[0]:
                    return float(row[1].timestamp())
                await asyncio.sleep(look_seconds)

    async def _start(self, command: str, settings: Mapping[str, object]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(*self.peer.command(), command, json.dumps(settings)),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )


async def _wait_until_ready(process: asyncio.subprocess.Process, name: str) -> None:
    if process.stdout is None:
        raise RuntimeError("no output to read")
    while line := await process.stdout.readline():
        if line.strip() == b"ready":
            return
    raise RuntimeError(f"{name}: a worker ended with {await process.wait()}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.communicate(), 10)
    except TimeoutError:
        process.kill()
        await process.communicate()
