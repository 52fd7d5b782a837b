"""What the services of one node share."""

import asyncio
from dataclasses import dataclass

from countwheel.clock import Chance, Clock
from countwheel.engine.held import HeldRuns
from countwheel.engine.node import Node
from countwheel.engine.settings import EngineSettings
from countwheel.engine.targets import Targets
from countwheel.store.database import Database
from countwheel.store.database_time import DatabaseTime


@dataclass(frozen=True, slots=True)
class Context:
    """The node, what it holds, and its ways to the world."""

    database: Database
    clock: Clock
    chance: Chance
    database_time: DatabaseTime
    settings: EngineSettings
    node: Node
    held: HeldRuns
    claiming: asyncio.Lock
    """Held while a claim is under way: until its runs are taken in, the database knows of them and `held` does not."""
    targets: Targets
