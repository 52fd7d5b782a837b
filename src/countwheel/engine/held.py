"""What this node holds: runs it has claimed, from the claim until their record is durable."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from msgspec import Struct

from countwheel.store.runs import ClaimedRun


class Phase(Enum):
    """Where a held run is inside the node."""

    WAITING = auto()
    """In the timer, before its millisecond."""
    READY = auto()
    """Due, waiting for a free slot."""
    SENDING = auto()
    """Its call is under way."""
    RECORDING = auto()
    """It has an outcome that is not durable yet."""


class Held(Struct, eq=False):
    """One held run. Mutable on purpose: it is the node's own working state, never shared beyond its event loop."""

    run: ClaimedRun
    claimed_by: str
    """The incarnation of this node that has claimed it: another one has no right to it."""
    due_monotonic: float
    target: str
    """The name by which its calls are paced."""
    arms_next: bool = False
    """Its claim has armed the next occurrence of its job: it is not the last one."""
    phase: Phase = Phase.WAITING
    task: asyncio.Task[None] | None = None
    """Gets it ready and sends it, where that needs waiting."""
    abort: Callable[[], None] | None = None
    """Aborts its call, where that left at once."""
    started_at: datetime | None = None
    """When its call left, by the database's time."""
    sending_since: float = 0.0
    announced: bool = False
    cancel_reason: str | None = None
    ready_since: float = 0.0
    paced: bool = False
    """It was taken from a lane: its target's pace has let it go."""
    slot: float | None = None
    """The monotonic moment that the rate gave it; `late_after_seconds` after that it is given up."""
    late_after_seconds: float = 0.0
    probe: bool = False
    """Its call is to find out whether its target is back."""

    is_held: bool = False
    """Whether it is among those that this node holds, still: a newer claim of the same run takes its place."""

    @property
    def cancelled(self) -> bool:
        """Whether it has been asked for its end."""
        return self.cancel_reason is not None


class HeldRuns:
    """The runs that this node holds, by id."""

    def __init__(self) -> None:
        # By the number that an id is: a UUID is hashed, and compared, in Python.
        self._by_id: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._by_id.values()))

    def __contains__(self, run_id: UUID) -> bool:
        return run_id.int in self._by_id

    def add(self, held: Held) -> None:
        """Take a run in. A newer claim of the same run replaces an older one, whose fence is dead."""
        key = held.run.run_id.int
        older = self._by_id.get(key)
        if older is not None:
            older.is_held = False
        self._by_id[key] = held
        held.is_held = True

    def find(self, run_id: UUID) -> Held | None:
        """Return a held run, or None."""
        return self._by_id.get(run_id.int)

    def drop(self, held: Held) -> None:
        """Let go of a run, unless a newer claim has replaced it."""
        if held.is_held:
            del self._by_id[held.run.run_id.int]
            held.is_held = False

    def in_phase(self, *phases: Phase) -> list[Held]:
        """Return the held runs that are in one of `phases`."""
        return [held for held in self._by_id.values() if held.phase in phases]
