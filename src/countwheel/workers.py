"""N nodes on one machine: each a process of its own on one shared port, started again when it dies.

The supervisor holds the listening socket and nothing else: no connection to the database, no state. A worker inherits
the socket and a pipe. When the supervisor goes, even by kill -9, the pipe ends, and the workers stop gracefully.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from countwheel.clock import Clock

LISTENER_FD = "COUNTWHEEL_LISTENER_FD"

_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 10.0
_WELL_AFTER_SECONDS = 30.0
"""A worker that has run this long is forgiven its earlier deaths."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What every worker is started with. `stop_seconds` is how long one may take to stop before it is killed."""

    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float


class Workers:
    """Keeps a number of workers alive until told to stop."""

    def __init__(self, count: int, plan: WorkerPlan, listener: socket.socket, clock: Clock) -> None:
        self._count = count
        self._plan = plan
        self._listener = listener
        self._clock = clock
        self._stop = asyncio.Event()
        self._running: set[asyncio.subprocess.Process] = set()

    def hang_up(self) -> None:
        """Pass SIGHUP on: each worker reads its certificate again."""
        for worker in self._running:
            worker.send_signal(signal.SIGHUP)

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set, then stop every worker gracefully. Returns 0 if each of them ended well."""
        keepers = [asyncio.create_task(self._keep(number)) for number in range(1, self._count + 1)]
        await stop.wait()
        self._stop.set()
        codes = await asyncio.gather(*keepers)
        return 0 if all(code == 0 for code in codes) else 1

    async def _keep(self, number: int) -> int:
        """Keep one worker alive; return its last exit code."""
        failures = 0
        while True:
            started = self._clock.monotonic()
            ended = await self._work(number)
            if self._stop.is_set() and isinstance(ended, int):
                return ended
            failures = 1 if self._clock.monotonic() - started >= _WELL_AFTER_SECONDS else failures + 1
            pause = min(_FIRST_BACKOFF_SECONDS * 2 ** (failures - 1), _MAX_BACKOFF_SECONDS)
            _log.error("worker died and is started again", worker=number, ended=ended, in_seconds=pause)
            if await self._stopped_within(pause):
                return 0

    async def _work(self, number: int) -> int | str:
        """Start a worker, and return its exit code when it has ended, or why there was none."""
        try:
            worker = await self._start()
        except OSError as error:  # no process to be had, or no memory: there may be later
            return str(error)
        _log.info("worker started", worker=number, pid=worker.pid)
        self._running.add(worker)
        try:
            return await self._wait(worker)
        finally:
            self._running.discard(worker)

    async def _start(self) -> asyncio.subprocess.Process:
        descriptor = self._listener.fileno()
        return await asyncio.create_subprocess_exec(
            *self._plan.command,
            env={**self._plan.environment, LISTENER_FD: str(descriptor)},
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
        )

    async def _wait(self, worker: asyncio.subprocess.Process) -> int:
        """Return a worker's exit code when it has ended, by itself or because all are to stop."""
        ended = asyncio.create_task(worker.wait())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            worker.send_signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=self._plan.stop_seconds)
            if not ended.done():
                _log.error("worker did not stop in time and is killed", pid=worker.pid)
                worker.kill()
        return await ended

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()


def worker_plan(roles: Sequence[str], stop_seconds: float) -> WorkerPlan:
    """Return how this same program is started as a worker."""
    command = [sys.executable, "-m", "countwheel", "serve", "--role", ",".join(roles)]
    return WorkerPlan(command, dict(os.environ), stop_seconds)


async def supervisor_gone() -> None:
    """Return, inside a worker, when the supervisor is gone: its end of the pipe is closed."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()
