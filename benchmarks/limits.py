"""The machine's limits, measured in the same run: what no scheduler here could be faster than."""

import asyncio
import re
import tempfile
import time
from typing import Protocol

import psycopg

from benchmarks.raw_client import RawClient
from countwheel.embedded.binaries import find_binaries


class Place(Protocol):
    """What has a PostgreSQL and a sink."""

    @property
    def dsn(self) -> str:
        """How to connect to PostgreSQL."""

    @property
    def sink_url(self) -> str:
        """Where the sink is called."""


_CALL = (
    b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1\r\nwebhook-id: %d\r\n"
    b"countwheel-scheduled-for: 2026-01-01T00:00:00.000Z\r\ncontent-length: 17\r\n\r\n"
    b'{"hello":"world"}'
)


async def limits_of(on: Place) -> dict[str, float]:
    """Return the limits of the machine as it is now, as figures."""
    return {
        "raw_calls_per_second": await raw_calls_per_second(on, 30_000),
        "commits_per_second": await commits_per_second(on, 2.0),
    }


async def raw_calls_per_second(on: Place, calls: int, connections: int = 32) -> float:
    """POSTs a second to the sink by a loop that does nothing else."""
    client = await RawClient.connect(on.sink_url, connections)
    numbers = iter(range(calls))

    async def connection() -> None:
        for number in numbers:
            await client.post(_CALL % number)

    began = time.monotonic()
    await asyncio.gather(*(connection() for _ in range(connections)))
    seconds = time.monotonic() - began
    client.close()
    return calls / seconds


async def commits_per_second(on: Place, seconds: float = 3.0, connections: int = 16) -> float:
    """One-row transactions a second, durable, on the same PostgreSQL.

    By pgbench, which comes with it: sixteen connections of a Python process reach two thirds of that.
    """
    async with await psycopg.AsyncConnection.connect(on.dsn, autocommit=True) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS bench_commits (n bigint)")
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write("INSERT INTO bench_commits VALUES (1);\n")
            script.flush()
            pgbench = await asyncio.create_subprocess_exec(
                *(find_binaries(None) / "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={connections}"),
                *(f"--time={max(round(seconds), 1)}", f"--file={script.name}", on.dsn),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await pgbench.communicate()
        await connection.execute("DROP TABLE bench_commits")
    found = re.search(rb"^tps = ([0-9.]+)", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench: {output.decode()}")
    return float(found[1])
