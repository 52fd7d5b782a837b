"""A node's identity and its lease.

One row in `nodes` carries the lease of everything that the node holds (docs/decisions/0002). The node trusts it only
on its own monotonic clock, counted from *before* the renewal was sent, and with a margin: a node that was paused past
it drops what it holds instead of sending it.
"""

import structlog

from countwheel.clock import Chance, Clock
from countwheel.engine.machine import is_gone
from countwheel.engine.settings import EngineSettings
from countwheel.store import nodes
from countwheel.store.database import Connection, Database
from countwheel.store.database_time import DatabaseTime
from countwheel.store.nodes import Identity

_log = structlog.get_logger(__name__)


class Node:
    """This process, as its peers see it: an incarnation with a lease."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        chance: Chance,
        database_time: DatabaseTime,
        settings: EngineSettings,
        *,
        identity: Identity,
    ) -> None:
        self._database = database
        self._clock = clock
        self._chance = chance
        self._database_time = database_time
        self._settings = settings
        self._identity = identity
        self._trusted_until = float("-inf")
        self.node_id = ""

    def has_lease(self) -> bool:
        """Whether this node may still act on what it holds, by its own monotonic clock."""
        return self._clock.monotonic() < self._trusted_until

    async def register(self) -> None:
        """Become a new incarnation with a lease of its own."""
        node_id = f"{self._identity.host}-{self._identity.pid}-{self._chance.token_bytes(3).hex()}"
        asked_at = self._clock.monotonic()
        async with self._database.connection() as connection:
            await nodes.register(
                connection, self._identity, node_id=node_id, lease_seconds=self._settings.lease_seconds
            )
            await self._measure_database_time(connection)
        self.node_id = node_id
        self._trust(asked_at)
        _log.info("node registered", node_id=node_id)

    async def renew(self) -> bool:
        """Extend the lease. Returns False where peers have declared this incarnation lost."""
        asked_at = self._clock.monotonic()
        async with self._database.connection() as connection:
            database_time = await nodes.renew(
                connection,
                node_id=self.node_id,
                lease_seconds=self._settings.lease_seconds,
                clock_offset_ms=self._clock_offset_ms(asked_at),
            )
            if database_time is None:
                self._trusted_until = float("-inf")
                return False
            # Not from this answer: a commit stands between the time in it and its arrival, half a millisecond or more.
            await self._measure_database_time(connection)
        self._trust(asked_at)
        return True

    def _clock_offset_ms(self, monotonic: float) -> float:
        """Return how far this machine's wall clock is ahead of the database's, as far as is known here."""
        return (self._clock.now() - self._database_time.at(monotonic)).total_seconds() * 1000

    async def find_dead_neighbours(self) -> list[str]:
        """Return the nodes of this machine that are said to be alive and whose process is gone."""
        machine = self._identity.machine
        if machine is None:
            return []
        async with self._database.connection() as connection:
            beside = await nodes.find_beside(connection, node_id=self.node_id, machine=machine)
        return [node.node_id for node in beside if is_gone(node.pid, node.process_started)]

    async def say_goodbye(self) -> None:
        """Tell the peers that what this node may still hold is theirs."""
        self._trusted_until = float("-inf")
        async with self._database.connection() as connection:
            await nodes.stop(connection, node_id=self.node_id)

    async def _measure_database_time(self, connection: Connection) -> None:
        # A few tries: the first one pays for the plan, and the shortest is the best.
        for _ in range(self._settings.time_measurements):
            asked_at = self._clock.monotonic()
            database_time = await nodes.database_time(connection)
            self._database_time.observe(
                asked_at=asked_at, database_time=database_time, answered_at=self._clock.monotonic()
            )

    def _trust(self, asked_at: float) -> None:
        lease = self._settings.lease_seconds - self._settings.lease_margin_seconds
        self._trusted_until = asked_at + lease
