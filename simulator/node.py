"""One node: the engine's own code, as an actor that can be killed, frozen, stepped and asked to stop."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from countwheel.delivery.sender import Sender
from countwheel.engine.engine import Engine, EngineParts
from countwheel.engine.settings import EngineSettings
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.nodes import Identity
from countwheel.store.sealing import Sealer
from simulator.database import Server, SimDatabase
from simulator.loop import Actor, as_actor
from simulator.target import SECRET_KEY, tokens

_LOOK_EVERY_SECONDS = 0.25
SETTINGS = EngineSettings(
    lease_seconds=1.2,
    lease_margin_seconds=0.2,
    renew_every_seconds=0.5,
    time_measurements=2,
    poll_every_seconds=0.4,
    look_whole_every_seconds=0.5,
    pace_every_seconds=0.5,
    cancel_poll_every_seconds=0.6,
    recover_every_seconds=0.9,
    sweep_every_seconds=3.0,
    prune_every_seconds=1_000.0,
    stop_grace_seconds=2.0,
)


class SimClock:
    """A node's clock: virtual, with an offset of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.offset_seconds = 0.0

    def now(self) -> datetime:
        """Return the instant, stepped."""
        return self._server.now + timedelta(seconds=self.offset_seconds)

    def monotonic(self) -> float:
        """Return seconds that no step touches."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of virtual time."""
        await asyncio.sleep(seconds)


class SimChance:
    """Chance by seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def uniform(self, low: float, high: float) -> float:
        """Return a number between."""
        return self._random.uniform(low, high)

    def token_bytes(self, count: int) -> bytes:
        """Return bytes that the seed decides."""
        return self._random.randbytes(count)


class _NoTokens:
    """No job of a history asks for a token."""

    def token_for(self, tenant_id: UUID, job_id: UUID, audience: str, now: datetime) -> str:
        """Never called."""
        raise LookupError(f"no token for {tenant_id}, {job_id}, {audience} at {now}")


class SimNode:
    """A place for one node after the other: what is killed is started again as a new one."""

    def __init__(self, number: int, server: Server, sender: Sender, settings: EngineSettings = SETTINGS) -> None:
        self.name = f"node-{number}"
        self._server = server
        self._sender = sender
        self._settings = settings
        self._starts = 0
        self.clock = SimClock(server)
        self.actor = Actor(self.name)
        self.engine: Engine | None = None

    def start(self) -> None:
        """Start a fresh engine. It tries until the database lets it in."""
        self._starts += 1
        self.actor = Actor(f"{self.name}.{self._starts}")
        chance = SimChance(self._server.random)
        self.engine = Engine(
            EngineParts(
                database=SimDatabase(self._server),
                clock=self.clock,
                chance=chance,
                sender=self._sender,
                sealer=Sealer(SECRET_KEY, chance),
                tokens=_NoTokens(),
                callbacks=tokens(),
                settings=self._settings,
                identity=Identity(self.name, self._starts, "simulated", ["api", "engine"]),
            )
        )
        self._spawn(self._until_started(self.engine))

    def kill(self) -> None:
        """kill -9: nothing of it runs any more, wherever it was."""
        self.actor.alive = False
        self.engine = None

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.actor.frozen_until = asyncio.get_running_loop().time() + seconds

    async def stop(self) -> None:
        """SIGTERM: return when it has ended, by itself or because something else killed it meanwhile."""
        actor = self.actor
        if self.engine is None:
            return
        stopping = self._spawn(self.engine.stop())
        self.engine = None  # nobody asks twice
        while actor.alive and not stopping.done():
            await asyncio.wait({stopping}, timeout=_LOOK_EVERY_SECONDS)
        actor.alive = False

    async def _until_started(self, engine: Engine) -> None:
        while True:
            with suppress(DatabaseUnavailableError):
                await engine.start()
                return
            await asyncio.sleep(0.1)

    def _spawn(self, coroutine: object) -> "asyncio.Task[None]":
        loop = asyncio.get_running_loop()
        return loop.create_task(coroutine, context=as_actor(self.actor))  # type: ignore[arg-type] # a coroutine
