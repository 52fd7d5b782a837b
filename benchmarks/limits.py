"""The machine's limits, measured in the same run: what no scheduler here could be faster than."""

import asyncio
import time

import psycopg

from benchmarks.stage import Stage

_CALL = (
    b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1\r\nwebhook-id: %d\r\n"
    b"countwheel-scheduled-for: 2026-01-01T00:00:00.000Z\r\ncontent-length: 17\r\n\r\n"
    b'{"hello":"world"}'
)


async def limits_of(stage: Stage) -> dict[str, float]:
    """Return the limits of the machine as it is now, as figures."""
    return {
        "raw_calls_per_second": await raw_calls_per_second(stage, 30_000),
        "commits_per_second": await commits_per_second(stage, 2.0),
    }


async def raw_calls_per_second(stage: Stage, calls: int, connections: int = 32) -> float:
    """POSTs a second to the sink by a loop that does nothing else."""
    host, port = stage.sink_url.removeprefix("http://").split(":")
    numbers = iter(range(calls))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            writer.write(_CALL % number)
            await reader.readuntil(b"ok")
        writer.close()
        await writer.wait_closed()

    began = time.monotonic()
    await asyncio.gather(*(connection() for _ in range(connections)))
    return calls / (time.monotonic() - began)


async def commits_per_second(stage: Stage, seconds: float = 3.0, connections: int = 16) -> float:
    """One-row transactions a second, durable, on the same PostgreSQL."""
    async with await psycopg.AsyncConnection.connect(stage.dsn, autocommit=True) as setup:
        await setup.execute("CREATE TABLE IF NOT EXISTS bench_commits (n bigint)")
    count = 0
    until = time.monotonic() + seconds

    async def client() -> int:
        done = 0
        async with await psycopg.AsyncConnection.connect(stage.dsn, autocommit=True) as connection:
            while time.monotonic() < until:
                await connection.execute("INSERT INTO bench_commits VALUES (1)")
                done += 1
        return done

    counts = await asyncio.gather(*(client() for _ in range(connections)))
    count = sum(counts)
    async with await psycopg.AsyncConnection.connect(stage.dsn, autocommit=True) as setup:
        await setup.execute("DROP TABLE bench_commits")
    return count / seconds
