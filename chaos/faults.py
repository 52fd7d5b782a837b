"""What is done to the system, and when: by seed. Every fault is noted with its beginning and its end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from time import time

from chaos.sink import HANG_SECONDS
from chaos.stage import LEASE_SECONDS, NodeProcess, Stage
from checker.history import Fault

_STALL_SECONDS = 0.02
_LOOK_EVERY_SECONDS = 0.005


class Faults:
    """Hurts a stage until it is told to stop, and then waits until everything is healed."""

    def __init__(self, stage: Stage, random: Random) -> None:
        self._stage = stage
        self._random = random
        self._stopping = asyncio.Event()
        self._busy: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self.noted: list[Fault] = []

    async def run(self, *, every_seconds: float, frozen: bool = False) -> None:
        """Inject faults until `stop`; with `frozen`, all but one node are frozen and thawed all the time, too."""
        kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "kill": (4, self._kill),
            "freeze": (0 if frozen else 4, self._freeze),
            "stop": (2, self._stop_gracefully),
            "database restart": (1, self._restart_database),
            "database crash": (1, self._crash_database),
            "cut": (3, self._cut),
            "cut commits": (3, self._cut_commits),
            "clock step": (3, self._step_clock),
            "sink hangs": (1, self._hang_sink),
        }
        if frozen:
            for node in self._stage.nodes[1:]:
                self._begin(self._freeze_for_ever(node))
        while not self._stopping.is_set():
            await self._pause(self._random.expovariate(1 / every_seconds))
            if not self._stopping.is_set():
                kind = self._random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
                self._begin(kinds[kind][1]())

    async def heal(self) -> float:
        """Stop, wait until every fault is over, and return when that was."""
        self._stopping.set()
        while self._under_way:
            await asyncio.wait(self._under_way)
        return time()

    def _begin(self, fault: Awaitable[None]) -> None:
        task = asyncio.ensure_future(fault)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _free_node(self) -> NodeProcess | None:
        """Return a node that nothing is being done to. One is always left in peace, so that somebody works."""
        free = [node for node in self._stage.nodes if node.name not in self._busy]
        return self._random.choice(free) if len(free) > 1 else None

    def _note(self, kind: str, target: str, began: float) -> None:
        self.noted.append(Fault(kind, target, began, time()))

    async def _kill(self) -> None:
        node = self._free_node()
        if node is None:
            return
        self._busy.add(node.name)
        began = time()
        await node.kill()
        await self._pause(self._random.uniform(0, 3))
        await node.start()
        self._note("kill -9", node.name, began)
        self._busy.discard(node.name)

    async def _stop_gracefully(self) -> None:
        node = self._free_node()
        if node is None:
            return
        self._busy.add(node.name)
        began = time()
        node.send(signal.SIGTERM)
        await node.ended()
        await node.start()
        self._note("SIGTERM", node.name, began)
        self._busy.discard(node.name)

    async def _freeze(self) -> None:
        node = self._free_node()
        if node is not None:
            self._busy.add(node.name)
            await self._freeze_once(node)
            self._busy.discard(node.name)

    async def _freeze_once(self, node: NodeProcess) -> None:
        began = time()
        node.send(signal.SIGSTOP)
        await self._pause(self._random.uniform(0.5, 3) * LEASE_SECONDS)
        node.send(signal.SIGCONT)
        self._note("SIGSTOP", node.name, began)

    async def _freeze_for_ever(self, node: NodeProcess) -> None:
        self._busy.add(node.name)
        while not self._stopping.is_set():
            await self._freeze_once(node)
            await self._pause(self._random.uniform(0.2, 2))
        self._busy.discard(node.name)

    async def _restart_database(self) -> None:
        if "database" not in self._busy:
            self._busy.add("database")
            began = time()
            await self._stage.restart_database()
            self._note("database restart", "database", began)
            self._busy.discard("database")

    async def _crash_database(self) -> None:
        if "database" not in self._busy:
            self._busy.add("database")
            began = time()
            await self._stage.crash_database()
            self._note("database crash", "database", began)
            self._busy.discard("database")

    async def _cut(self) -> None:
        began = time()
        if self._stage.proxy.cut(self._random.choice((0.3, 1.0))):
            self._note("connections cut", "proxy", began)

    async def _cut_commits(self) -> None:
        began = time()
        self._stage.proxy.cut_next_commits(self._random.randrange(1, 6))
        await self._pause(0.5)
        self._stage.proxy.cut_next_commits(0)
        self._note("commits cut", "proxy", began)

    async def _step_clock(self) -> None:
        node = self._random.choice(self._stage.nodes)
        began = time()
        node.step_clock(self._random.choice((-3600.0, -1.0, 0.0, 1.0, 3600.0)))
        self._note("clock step", node.name, began)

    async def _hang_sink(self) -> None:
        if self._stage.sink is not None:
            began = time()
            self._stage.sink.send_signal(signal.SIGUSR1)
            await self._pause(HANG_SECONDS)
            self._note("sink hangs", "sink", began)


@asynccontextmanager
async def watching_for_stalls(noted: list[Fault]) -> AsyncIterator[None]:
    """Note, until the block ends, when the machine gave this process no time, and so perhaps none to the nodes."""
    watching = asyncio.create_task(_watch_for_stalls(noted))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch_for_stalls(noted: list[Fault]) -> None:
    while True:
        before = time()
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        if time() - before - _LOOK_EVERY_SECONDS > _STALL_SECONDS:
            noted.append(Fault("stall", "machine", before, time()))
