"""What both harnesses share: one command a process, its settings as JSON, the call to the sink.

    python -m benchmarks.peers.python.PEER install | fill | work | create SETTINGS

PostgreSQL is found by the PG* variables. What a command has to tell is the last line of its output, as JSON.
"""

import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import uvloop

from benchmarks.raw_client import RawClient

Command = Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]

_CALL = (
    b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nwebhook-id: %b\r\n"
    b'countwheel-scheduled-for: %b\r\ncontent-length: 17\r\n\r\n{"hello":"world"}'
)


class Caller:
    """Calls the sink over kept-alive connections. Opened where the worker's event loop runs."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._client: RawClient | None = None

    async def open(self) -> None:
        """Open all connections."""
        self._client = await RawClient.connect(self._settings["sink"], self._settings["connections"])

    async def post(self, call_id: str, scheduled_for: str) -> None:
        """Make one call, and return when its answer has come."""
        if self._client is None:
            raise RuntimeError("not open")
        status = await self._client.post(_CALL % (call_id.encode(), scheduled_for.encode()))
        if status != 200:
            raise RuntimeError(f"the sink answered {status}")


def dues(settings: dict[str, Any]) -> Iterator[datetime]:
    """Yield the due moments of the jobs of a workload."""
    for number in range(settings["count"]):
        yield datetime.fromtimestamp((settings["due_ms"] + math.floor(number * settings["apart_ms"])) / 1000, UTC)


def minute() -> str:
    """Return the minute that it is: a cron job's nominal moment, where its library does not tell it."""
    return datetime.fromtimestamp(time.time() // 60 * 60, UTC).isoformat()


async def create_by_clients(settings: dict[str, Any], create: Callable[[int], Awaitable[Any]]) -> dict[str, float]:
    """Call `create(number)` for each job, from a number of clients at once; return how long it took."""
    numbers = iter(range(settings["count"]))
    took: list[float] = []

    async def client() -> None:
        for number in numbers:
            at = time.perf_counter()
            await create(number)
            took.append(time.perf_counter() - at)

    await asyncio.gather(*(create(-1 - number) for number in range(settings["clients"])))  # opens their connections
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(settings["clients"])))
    seconds = time.perf_counter() - began
    took.sort()
    return {"seconds": seconds, "p99_ms": took[math.ceil(len(took) * 0.99) - 1] * 1000}


async def until_stopped(work: Awaitable[Any]) -> None:
    """Say that the worker is ready, and let it go on until SIGTERM."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("ready", flush=True)
    try:
        await task
    except asyncio.CancelledError:
        return


def main(**commands: Command) -> None:
    """Run the command that was asked for."""
    name, settings = sys.argv[1:]
    told = uvloop.run(commands[name](json.loads(settings)))
    print(json.dumps(told or {}))
