"""Makes outcomes durable, in batches, each row fenced.

While one batch is on its way the next one gathers, so that the batch grows with the load by itself; in a stream it
gathers for a moment longer, or each run would cost a commit. A batch whose COMMIT went unanswered is simply sent again:
what was recorded the first time is the node's no more, and matches nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog
from msgspec.structs import replace as replaced

from countwheel.domain.overlap import policy_of
from countwheel.domain.policy import Overlap
from countwheel.domain.run import RunStatus
from countwheel.engine.context import Context
from countwheel.engine.held import Held, Phase
from countwheel.store import errands, long_work, runs, targets
from countwheel.store.database import RefusedRowError
from countwheel.store.endings import EndingRun, complete
from countwheel.store.errands import Errand
from countwheel.store.long_work import AcceptedRun
from countwheel.store.runs import FinishedRun, RetriedRun
from countwheel.store.targets import SetAsideRun

_log = structlog.get_logger(__name__)

_MAX_BATCH = 1024
_GATHER_SECONDS = 0.004
"""How long a batch gathers in a stream."""
_PAUSE_SECONDS = 0.01
"""What comes so long after the last batch comes in no stream, and is written at once."""


Record = FinishedRun | RetriedRun | AcceptedRun | SetAsideRun
"""What became of a held run."""


class _Entry(NamedTuple):
    held: Held
    record: Record


_Ending = Callable[[EndingRun, FinishedRun], FinishedRun]
"""Makes of what came of a run the record of its end."""


class Recorder:
    """Collects what became of runs and writes it down."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[_Entry] = []
        self._wrote_at = float("-inf")
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, held: Held, record: Record) -> None:
        """Take the outcome of a held run, or that it is to wait in its lane. It stays held until that is durable."""
        held.phase = Phase.RECORDING
        if not self._waiting:
            self._idle.clear()
            self._arrived.set()
        self._waiting.append(_Entry(held, record))

    async def run_once(self) -> float:
        """Write down one batch, waiting for something to write. Returns 0: the next batch may be waiting."""
        await self._arrived.wait()
        clock = self._context.clock
        if len(self._waiting) < _MAX_BATCH and clock.monotonic() - self._wrote_at < _PAUSE_SECONDS:
            await clock.sleep(_GATHER_SECONDS)
        batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
        try:
            await self._record(batch)
        except BaseException:
            # Nothing is lost: what could not be written goes back to the front of the queue.
            self._waiting[:0] = [entry for entry in batch if entry.held.is_held]
            raise
        self._wrote_at = clock.monotonic()
        if not self._waiting:
            self._arrived.clear()
            self._idle.set()
        return 0.0

    async def wait_until_idle(self) -> None:
        """Return when everything that was put is durable."""
        await self._idle.wait()

    async def _record(self, batch: Sequence[_Entry]) -> None:
        try:
            recorded = await self._write(batch)
        except RefusedRowError:
            if len(batch) > 1:  # each row keeps its own fate: find the one that PostgreSQL refuses
                for entry in batch:
                    await self._record([entry])
                return
            recorded = await self._write_parked(_parked(batch[0]))
        for entry in batch:
            self._context.held.drop(entry.held)
        if len(recorded) == len(batch):
            return
        for entry in batch:
            if entry.record.run_id not in recorded:
                _log.warning(
                    "record refused: the run was taken over or ended meanwhile",
                    run_id=str(entry.record.run_id),
                    fence=entry.record.fence,
                )

    async def _write_parked(self, entry: _Entry) -> set[UUID]:
        run_id = str(entry.record.run_id)
        for ending, how in ((complete, "whole"), (_untold, "without telling anybody"), (_bare, "bare")):
            try:
                return await self._write([entry], ending)
            except RefusedRowError as error:
                _log.error("parked run refused by PostgreSQL", run_id=run_id, how=how, error=str(error))
        # One run must not keep all others of this node from their records: whoever looks for strangers takes it up.
        return set()

    async def _write(self, batch: Sequence[_Entry], ending: _Ending = complete) -> set[UUID]:
        finished = [ending(entry.held.run, entry.record) for entry in batch if isinstance(entry.record, FinishedRun)]
        retried = [entry.record for entry in batch if isinstance(entry.record, RetriedRun)]
        accepted = [entry.record for entry in batch if isinstance(entry.record, AcceptedRun)]
        aside = [entry.record for entry in batch if isinstance(entry.record, SetAsideRun)]
        stopped = {entry.record.run_id: errand for entry in batch for errand in _cancellation(entry)}
        recorded: set[UUID] = set()
        database = self._context.database
        # Only a batch with an end that somebody is to be told of needs more than its one statement: the end and the run
        # that tells of it are there together, or neither is.
        is_told = bool(stopped) or any(record.told_url is not None for record in finished)
        async with database.transaction() if is_told else database.connection() as connection:
            if finished:
                recorded |= await runs.finish(connection, finished)
                await errands.insert(connection, [errand for run_id, errand in stopped.items() if run_id in recorded])
                if awaited := {entry.record.job_id for entry in batch if _is_awaited(entry)}:
                    await runs.wake(connection, list(awaited))
            if retried:
                recorded |= await runs.retry(connection, retried, node_id=self._context.node.node_id)
            if accepted:
                recorded |= await long_work.accept(connection, accepted, node_id=self._context.node.node_id)
            if aside:
                recorded |= await targets.set_aside(connection, aside, node_id=self._context.node.node_id)
        return recorded


def _cancellation(entry: _Entry) -> list[Errand]:
    """Return what tells a target that a run which was sent to it is cancelled."""
    run, record = entry.held.run, entry.record
    if not isinstance(record, FinishedRun) or record.status != RunStatus.CANCELED:
        return []
    if not record.sent and run.started_at is None:
        return []
    attempt = run.attempt if record.sent else run.attempt - 1
    return errands.cancellation_of(run, attempt=attempt, reason=record.error or "", moment=record.finished_at)


def _is_awaited(entry: _Entry) -> bool:
    """Whether another run of the job may wait for this one to end."""
    # No set: what is hashed of an enumeration is hashed in Python, three times a run.
    return isinstance(entry.record, FinishedRun) and policy_of(entry.held.run) not in (Overlap.SKIP, Overlap.ALLOW)


def _untold(run: EndingRun, record: FinishedRun) -> FinishedRun:
    return replaced(complete(run, record), told_url=None)


def _bare(_run: EndingRun, record: FinishedRun) -> FinishedRun:
    return record


def _parked(entry: _Entry) -> _Entry:
    """Reduce a record that PostgreSQL refuses to one that it cannot refuse, so that the run ends all the same."""
    record = entry.record
    if isinstance(record, SetAsideRun | AcceptedRun):
        return entry  # there is nothing in it that could be refused
    _log.error("record refused by PostgreSQL; the run is parked as FAILED", run_id=str(record.run_id))
    error = "parked: PostgreSQL refused the record of its outcome"
    if isinstance(record, FinishedRun):
        return _Entry(entry.held, replaced(record, status="FAILED", http_status=None, error=error, response_head=None))
    return _Entry(entry.held, replaced(record, http_status=None, error=error, response_head=None))
