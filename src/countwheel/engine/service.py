"""Keeping a background service alive: whatever happens in one round, there is a next one."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from countwheel.clock import Clock
from countwheel.store.database import DatabaseUnavailableError

_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0

_log = structlog.get_logger(__name__)

RunOnce = Callable[[], Awaitable[float]]
"""One round of a service. Returns how many seconds to wait before the next (0: at once)."""


async def supervise(name: str, run_once: RunOnce, clock: Clock) -> None:
    """Run rounds of a service until cancelled. A round that fails is logged, and the next comes after a back-off."""
    failures = 0
    while True:
        try:
            pause = await run_once()
        except DatabaseUnavailableError as error:
            failures += 1
            pause = _backoff(failures)
            _log.warning("service waits for the database", service=name, error=str(error), retry_in_seconds=pause)
        except Exception:  # noqa: BLE001 (the one place whose work it is to go on)
            failures += 1
            pause = _backoff(failures)
            _log.exception("service failed and goes on", service=name, retry_in_seconds=pause)
        else:
            failures = 0
        if _is_cancelled():
            return
        if pause > 0:
            await clock.sleep(pause)
        else:
            await asyncio.sleep(0)  # noqa: TID251 (gives way to others; no time passes)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task and a library swallowed it (`asyncio.wait_for` of Python 3.11 may)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _backoff(failures: int) -> float:
    return float(min(_FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10), _MAX_BACKOFF_SECONDS))
