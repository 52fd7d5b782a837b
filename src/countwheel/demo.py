"""`countwheel dev --demo`: a call every ten seconds, so that there is something to look at."""

import asyncio
from datetime import timedelta

import structlog

from countwheel.client import ApiError, Countwheel, Credentials
from countwheel.clock import Clock

_EVERY_SECONDS = 10.0

_log = structlog.get_logger(__name__)


async def schedule_demo(credentials: Credentials, clock: Clock) -> None:
    """Schedule a call to the server's own echo every ten seconds, through the API, until cancelled."""
    client = Countwheel(credentials, scope="jobs:write")
    while True:
        at = clock.now() + timedelta(seconds=_EVERY_SECONDS)
        job = {
            "schedule_oneoff": at.isoformat(timespec="seconds"),
            "job_url": f"{credentials.url}/dev/echo",
            "job_payload": {"demo": at.isoformat(timespec="seconds")},
            "name": "demo",
        }
        try:
            created = await asyncio.to_thread(client.create_job, job, idempotency_key=f"demo-{at:%Y%m%d%H%M%S}")
            _log.info("demo call scheduled", at=created["next_run"]["scheduled_for"], job_id=created["job_id"])
        except ApiError as error:
            _log.warning("demo call not scheduled", error=str(error))
        await clock.sleep(_EVERY_SECONDS)
