"""The services of a node, started together and stopped in the right order."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from countwheel.auth.callbacks import CallbackTokens
from countwheel.clock import Chance, Clock
from countwheel.delivery.sender import Sender
from countwheel.engine.alarm import AlarmMaker, loop_alarm
from countwheel.engine.announcer import Announcer
from countwheel.engine.canceller import Canceller
from countwheel.engine.carrier import Carrier
from countwheel.engine.claimer import Claimer
from countwheel.engine.context import Context
from countwheel.engine.credentials import CredentialStore, TargetTokens
from countwheel.engine.dispatcher import Dispatcher, Ways
from countwheel.engine.floor import Floor
from countwheel.engine.held import HeldRuns
from countwheel.engine.node import Node
from countwheel.engine.overseer import Overseer
from countwheel.engine.pacer import Pacer
from countwheel.engine.pauser import Pauser
from countwheel.engine.pruner import Pruner
from countwheel.engine.recorder import Recorder
from countwheel.engine.recovery import Recovery
from countwheel.engine.replanner import Replanner
from countwheel.engine.service import RunOnce, supervise
from countwheel.engine.settings import EngineSettings
from countwheel.engine.sweeper import Sweeper
from countwheel.engine.targets import Targets
from countwheel.engine.timer import Timer
from countwheel.store import runs
from countwheel.store.database import Database, DatabaseUnavailableError
from countwheel.store.database_time import DatabaseTime
from countwheel.store.nodes import Identity
from countwheel.store.runs import HeldRun
from countwheel.store.sealing import Sealer

_log = structlog.get_logger(__name__)

ENGINE = "engine"
"""The role of a node that calls targets. One without it registers and keeps its heartbeat, and claims nothing."""

_LAST_THING_SECONDS = 5.0
"""How long a stop tries to reach the database for each thing that is left to do."""

_LAST_THING_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made with. The composition root chooses each."""

    database: Database
    clock: Clock
    chance: Chance
    sender: Sender
    sealer: Sealer
    tokens: TargetTokens
    callbacks: CallbackTokens
    settings: EngineSettings
    identity: Identity
    make_alarm: AlarmMaker = loop_alarm


class Engine:
    """A node at work: claims, sends, records, recovers."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        database, clock, settings = parts.database, parts.clock, parts.settings
        self.database_time = DatabaseTime()
        self.held = HeldRuns()
        self.node = Node(
            database,
            clock,
            parts.chance,
            self.database_time,
            settings,
            identity=parts.identity,
        )
        context = Context(
            *(database, clock, parts.chance, self.database_time, settings, self.node, self.held, asyncio.Lock()),
            targets=Targets(clock, self.database_time),
        )
        self.recorder = Recorder(context)
        self.announcer = Announcer(context)
        self.pauser = Pauser(context)
        credentials = CredentialStore(database, parts.sealer, clock, parts.tokens)
        ways = Ways(self.recorder, self.announcer, credentials, parts.sender, self.pauser, parts.callbacks)
        self.dispatcher = Dispatcher(context, ways, user_agent=f"Countwheel/{parts.identity.version}")
        self.timer = Timer(clock, self.dispatcher.submit, parts.make_alarm)
        self.floor = Floor(context)
        self.claimer = Claimer(context, self.timer, self.floor)
        self.pacer = Pacer(context, self.timer, self.dispatcher)
        self.canceller = Canceller(context, self.dispatcher)
        self.recovery = Recovery(context)
        self.sweeper = Sweeper(context)
        self.overseer = Overseer(context)
        self.replanner = Replanner(context)
        self.carrier = Carrier(context)
        self.pruner = Pruner(context)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Register the node and start every service. Raises `DatabaseUnavailableError` if the database is away."""
        if ENGINE not in self._parts.identity.roles:
            await self.node.register()
            self._begin({"node": self.renew_once})
            return
        await self.pruner.make_ahead()  # today's partitions, before the first record
        if self._parts.settings.owns_database:
            await self.recovery.take_over_predecessors()
        await self.node.register()
        self._begin(
            {
                "node": self.renew_once,
                "floor": self.floor.look_whole,
                "claimer": self.claimer.run_once,
                "pacer": self.pacer.run_once,
                "recorder": self.recorder.run_once,
                "canceller": self.canceller.run_once,
                "announcer": self.announcer.run_once,
                "pauser": self.pauser.run_once,
                "recovery": self.recovery.run_once,
                "sweeper": self.sweeper.run_once,
                "overseer": self.overseer.run_once,
                "replanner": self.replanner.run_once,
                "carrier": self.carrier.run_once,
                "pruner": self.pruner.run_once,
            }
        )

    def _begin(self, services: Mapping[str, RunOnce]) -> None:
        for name, run_once in services.items():
            self._tasks[name] = asyncio.create_task(supervise(name, run_once, self._parts.clock), name=name)

    async def renew_once(self) -> float:
        """Renew the lease; a node that was declared lost drops what it held and comes back as a new one."""
        if not await self.node.renew():
            _log.error("this node was declared lost by its peers: it drops what it held", node_id=self.node.node_id)
            self.timer.stop()
            self.dispatcher.drop_all()
            await self.node.register()
        return self._parts.settings.renew_every_seconds

    async def stop(self) -> None:
        """Stop gracefully: claim no more, release what is unsent, wait for calls under way, record, say goodbye."""
        _log.info("stopping", held=len(self.held))
        await self.claimer.stop()
        await self.pacer.stop()
        await self._end("claimer", "floor", "pacer", "sweeper", "overseer", "replanner", "pruner", "recovery")
        self.timer.stop()
        unsent = [HeldRun(held.run.job_id, held.run.run_id, held.run.fence) for held in self.dispatcher.take_unsent()]
        if unsent:
            await self._finally("release", lambda: self._release(unsent))
        await self.dispatcher.wait_for_calls(self._parts.settings.stop_grace_seconds)
        await self._finally("record", self.recorder.wait_until_idle)
        await self._end("canceller", "announcer", "pauser", "recorder", "node")
        await self._finally("goodbye", self.node.say_goodbye)
        _log.info("stopped", released=len(unsent))

    async def _release(self, unsent: Sequence[HeldRun]) -> None:
        async with self._parts.database.connection() as connection:
            await runs.release(connection, unsent)

    async def _finally(self, what: str, action: Callable[[], Awaitable[None]]) -> None:
        """Do a last thing, again and again for a while. What then is not done, the peers do when the lease ends."""
        try:
            async with asyncio.timeout(_LAST_THING_SECONDS):
                while True:
                    with contextlib.suppress(DatabaseUnavailableError):
                        return await action()
                    await self._parts.clock.sleep(_LAST_THING_PAUSE_SECONDS)
        except TimeoutError:
            _log.warning("stopping without the database: peers take over when the lease ends", left_undone=what)

    async def _end(self, *names: str) -> None:
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
