"""Pauses jobs whose target says that it is gone for good (HTTP 410; criterion W9), with that as the reason."""

import asyncio
from uuid import UUID

import structlog

from countwheel.domain.job import JobStatus
from countwheel.engine.context import Context
from countwheel.store.changes import changing

_log = structlog.get_logger(__name__)


class Pauser:
    """Collects jobs to pause. What a crash loses here the next call to the same target brings back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[UUID, tuple[UUID, str]] = {}
        self._arrived = asyncio.Event()

    def put(self, tenant_id: UUID, job_id: UUID, reason: str) -> None:
        """Let a job be paused, soon."""
        self._waiting[job_id] = tenant_id, reason
        self._arrived.set()

    async def run_once(self) -> float:
        """Pause every job that waits for it. Returns 0: the next one is waited for."""
        await self._arrived.wait()
        while self._waiting:
            job_id, (tenant_id, reason) = next(iter(self._waiting.items()))
            async with changing(self._context.database, tenant_id, job_id) as change:
                paused = change is not None and change.job.state == JobStatus.ACTIVE
                if change is not None and paused:
                    await change.pause(reason)
            if paused:
                _log.warning("job paused", job_id=str(job_id), reason=reason)
            del self._waiting[job_id]
        self._arrived.clear()
        return 0.0
