"""One history: play it under faults, heal, wait, and judge it with the same checker that judges the fault harness."""

import asyncio
import gc
import hashlib
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg

from chaos.ledger import read_all
from checker.history import Fault, History, Limits
from checker.report import Verdict, judge
from countwheel.domain.target import target_name
from countwheel.store import partitions, targets
from countwheel.store.database import Connection, DatabaseUnavailableError
from countwheel.store.targets import Limits as TargetLimits
from simulator.clients import TARGET_URL, Clients
from simulator.database import SEARCH_PATH, Server, SimDatabase
from simulator.loop import LONGEST_SECONDS, VirtualLoop
from simulator.node import SETTINGS, SimNode
from simulator.target import SimSender, Target

_Came = TypeVar("_Came")

BEGAN = datetime(2026, 11, 24, 9, 0, 0, 123_000, tzinfo=UTC)
ACT_SECONDS = 2.2
_CALM_SECONDS = 0.3
LIMITS = Limits(
    look_ahead=SETTINGS.look_ahead_seconds, lease=SETTINGS.lease_seconds, detection=1.0, drain=0.6, punctual=1.6
)
"""`punctual` is loose: a slow statement, up to a second each way, is no fault of its own here."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a seed. `digest` is equal where two plays were the same to the last receipt."""

    seed: int
    verdict: Verdict
    history: History
    statements: int
    digest: str


def play(connection: psycopg.Connection[Any], seed: int, *, tidy: bool = True) -> Played:
    """Play one history on a database that has the schema (see `prepare`); it is left as it was.

    `tidy` collects what the dead have left, at once: who plays thousands lets Python do that when it wants.
    """
    with borrowed(connection):
        return on_virtual_time(lambda: _history(connection, seed), tidy=tidy)


@contextmanager
def borrowed(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Make a connection the one of a history, and leave the database as it was."""
    connection.execute(f"SET search_path TO {SEARCH_PATH}; SET plan_cache_mode TO force_generic_plan".encode())
    connection.prepare_threshold, connection.prepared_max = 1, None
    # The ledger in one piece: partitions decide nothing here, and planning over eight of them takes most of the time.
    parents, partitions.PARENTS = partitions.PARENTS, ()  # as many as there are
    connection.execute("BEGIN")
    try:
        yield
    finally:
        # Past the driver, which forgets what it has prepared at a ROLLBACK: each history would plan all of the engine's
        # statements again. Nothing here changes the schema.
        connection.pgconn.exec_(b"ROLLBACK")
        partitions.PARENTS = parents


def on_virtual_time(
    main: Callable[[], Coroutine[Any, Any, _Came]], *, tidy: bool = True, longest_seconds: float = LONGEST_SECONDS
) -> _Came:
    """Return what comes of a coroutine on a virtual clock, which may go on for `longest_seconds`."""
    loop = VirtualLoop(longest_seconds)
    loop.set_exception_handler(lambda _loop, _context: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what the dead were about to do was never awaited
        try:
            return loop.run_until_complete(main())
        finally:
            _abandon(loop)
            loop.close()
            if tidy:
                gc.collect()


def _abandon(loop: VirtualLoop) -> None:
    """Let go of what the dead have left, without a word."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 (dead on purpose)
        try:
            task.get_coro().close()
        except RuntimeError:  # it had something to say at its end, and is dead
            continue


async def _history(connection: psycopg.Connection[Any], seed: int) -> Played:
    random = Random(seed)
    server = Server(connection, BEGAN, random)
    (tenant_id,) = connection.execute("SELECT tenant_id FROM tenants").fetchone() or (UUID(int=0),)
    target = Target(server)
    nodes = [SimNode(number + 1, server, SimSender(target)) for number in range(random.choice((1, 2, 2, 2, 2, 3)))]
    clients = Clients(server, tenant_id)
    faults = _Faults(server, nodes, tenant_id)
    for node in nodes:
        node.start()
    working = asyncio.get_running_loop().create_task(
        clients.run(recurring=random.randrange(1, 3), one_offs=random.randrange(2, 6))
    )
    await faults.run(ACT_SECONDS)
    history = History(
        began=BEGAN.timestamp(), healed_at=server.now.timestamp(), checked_at=0.0, limits=LIMITS, faults=faults.noted
    )
    await asyncio.sleep(_CALM_SECONDS)
    clients.stop()
    await working
    await asyncio.sleep(LIMITS.recovery + 0.5)
    history.operations, history.receipts = clients.operations, target.receipts
    history.completions = target.completions
    history.checked_at = server.now.timestamp()
    read_all(connection, history)
    rows = sorted(map(msgspec.json.encode, history.rows))  # they are read in no order
    seen = msgspec.json.encode([history.receipts, rows, history.operations, history.completions])
    return Played(seed, judge(history), history, server.statements, hashlib.sha256(seen).hexdigest())


class _Faults:
    """What goes wrong in a history."""

    def __init__(self, server: Server, nodes: list[SimNode], tenant_id: UUID) -> None:
        self._server = server
        self._tenant_id = tenant_id
        self._nodes = nodes
        self._random = server.random
        self.noted: list[Fault] = []

    async def run(self, seconds: float) -> None:
        """Hurt for so long, then heal everything."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        weather = self._server.weather
        is_bad = self._random.random() < 0.5
        if is_bad:
            weather.lose_request, weather.lose_answer, weather.slow = 0.01, 0.01, 0.01
        began = self._server.now.timestamp()
        restarts: list[asyncio.Task[None]] = []
        while loop.time() < ends_at:
            await asyncio.sleep(self._random.uniform(0.1, 2.0))
            restarts += self._hurt()
        if restarts:
            await asyncio.wait(restarts)
        thawed_at = max([weather.away_until, *(node.actor.frozen_until for node in self._nodes)])
        await asyncio.sleep(max(0.0, thawed_at - loop.time()))
        weather.lose_request = weather.lose_answer = weather.slow = 0.0
        if is_bad:  # any statement of the whole time may have been hit
            self.noted.append(Fault("connections cut", "weather", began, self._server.now.timestamp()))

    def _hurt(self) -> "list[asyncio.Task[None]]":
        """Let one thing go wrong; return what sees to its end."""
        loop = asyncio.get_running_loop()
        node = self._random.choice(self._nodes)
        match self._random.choices(("kill", "freeze", "stop", "away", "clock", "target"), (4, 4, 1, 2, 1, 3))[0]:
            case "kill":
                return [loop.create_task(self._kill(node))]
            case "freeze":
                self._freeze(node)
            case "stop":
                return [loop.create_task(self._stop(node))]
            case "target":
                return [loop.create_task(self._restrict_target())]
            case "away":
                self._server.weather.away_until = loop.time() + self._random.uniform(0.1, 1.5)
                self._note("database restart", "database", self._server.weather.away_until - loop.time())
            case "clock":
                node.clock.offset_seconds = self._random.choice((-3600.0, -1.0, 0.0, 1.0, 3600.0))
                self._note("clock step", node.name, 0.0)
        return []

    async def _kill(self, node: SimNode) -> None:
        if not node.actor.alive:
            return
        began, killed = self._server.now.timestamp(), node.actor
        node.kill()
        await asyncio.sleep(self._random.uniform(0.0, 1.5))
        if node.actor is killed:
            node.start()
        self.noted.append(Fault("kill -9", node.name, began, self._server.now.timestamp() + 0.2))

    async def _stop(self, node: SimNode) -> None:
        if node.engine is None or len(self._nodes) == 1:  # an orderly stop is for those who have a peer
            return
        began, stopped = self._server.now.timestamp(), node.actor
        await node.stop()
        if node.actor is not stopped:  # killed, and started again by whoever did that
            return
        node.start()
        self.noted.append(Fault("SIGTERM", node.name, began, self._server.now.timestamp() + 0.2))

    async def _restrict_target(self) -> None:
        """Pause the target for a while, or let it be called seldom: runs wait in its lane, and come out of it."""
        began, name = self._server.now.timestamp(), target_name(TARGET_URL, None)
        limits = self._random.choice((None, TargetLimits(1, None, None, None), TargetLimits(None, 4.0, 2, None)))
        if limits is None:
            await self._insist(lambda connection: targets.pause(connection, self._tenant_id, name, None))
        else:
            await self._insist(lambda connection: targets.put_limits(connection, self._tenant_id, name, limits))
        await asyncio.sleep(self._random.uniform(0.2, 2.0))
        await self._insist(lambda connection: targets.resume(connection, self._tenant_id, name))
        await self._insist(lambda connection: targets.take_limits(connection, self._tenant_id, name))
        self.noted.append(Fault("target restricted", name, began, self._server.now.timestamp() + 1.0))

    async def _insist(self, act: Callable[[Connection], Awaitable[object]]) -> None:
        """Ask the database until it has answered."""
        while True:
            with suppress(DatabaseUnavailableError):
                async with SimDatabase(self._server).connection() as connection:
                    await act(connection)
                return
            await asyncio.sleep(0.1)

    def _freeze(self, node: SimNode) -> None:
        seconds = self._random.uniform(0.3, 3.0) * SETTINGS.lease_seconds
        node.freeze(seconds)
        self._note("SIGSTOP", node.name, seconds)

    def _note(self, kind: str, target: str, seconds: float) -> None:
        now = self._server.now.timestamp()
        self.noted.append(Fault(kind, target, now, now + seconds))
