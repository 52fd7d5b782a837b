"""One job and one outage, and nothing else that goes wrong: what the engine makes of it, on virtual time."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Any

import psycopg

from countwheel.delivery.sender import Abort, MayLeave, Told
from countwheel.domain import ids
from countwheel.domain.attempt import AttemptResult, Call, Response
from countwheel.domain.job import define
from countwheel.domain.run import LIVE, RunStatus
from countwheel.domain.simulation import Row, Scenario
from countwheel.engine.settings import EngineSettings
from countwheel.store import jobs
from simulator.database import Server, SimDatabase
from simulator.node import SimNode
from simulator.play import borrowed, on_virtual_time
from simulator.target import told_later

_SETTINGS = EngineSettings(
    look_ahead_seconds=8.0,
    lease_seconds=30.0,
    renew_every_seconds=10.0,
    time_measurements=2,
    poll_every_seconds=4.0,
    look_whole_every_seconds=8.0,
    pace_every_seconds=8.0,
    cancel_poll_every_seconds=4.0,
    recover_every_seconds=8.0,
    oversee_every_seconds=60.0,
    prune_every_seconds=1e6,
)
"""Slow: between two occurrences lie minutes."""
_LEDGER = """
    SELECT scheduled_for, status, occurrences, superseded_by FROM run_history
    UNION ALL SELECT scheduled_for, state, 1, NULL FROM runs WHERE due_at <= %(now)s AND scheduled_for <= %(now)s
    ORDER BY scheduled_for
"""


def live_through(connection: psycopg.Connection[Any], job: Mapping[str, Any], scenario: Scenario) -> list[Row]:
    """Return the ledger of a job that lives through a scenario. The database (see `prepare`) is left as it was."""
    with borrowed(connection):
        lasts = (scenario.end - scenario.start).total_seconds() + 1
        return on_virtual_time(lambda: _live(connection, job, scenario), longest_seconds=lasts)


async def _live(connection: psycopg.Connection[Any], job: Mapping[str, Any], scenario: Scenario) -> list[Row]:
    server = Server(connection, scenario.start, Random(0))
    await _create(connection, server, job)
    node = SimNode(1, server, SteadySender(scenario.run_time.total_seconds()), _SETTINGS)
    node.start()
    if scenario.outage is not None:
        await _until(server, scenario.outage[0])
        node.kill()
        await _until(server, scenario.outage[1])
        node.start()
    await _until(server, scenario.end)
    rows = connection.execute(_LEDGER, {"now": scenario.end}).fetchall()
    return [Row(at, _shown(status), occurrences=count, superseded_by=until) for at, status, count, until in rows]


def _shown(status: str) -> RunStatus:
    """A call that is not old enough to be shown as RUNNING is under way all the same."""
    return RunStatus.RUNNING if status in LIVE and status != RunStatus.SCHEDULED else RunStatus(status)


async def _create(connection: psycopg.Connection[Any], server: Server, body: Mapping[str, Any]) -> None:
    tenant = connection.execute("SELECT tenant_id FROM tenants").fetchone()
    if tenant is None:
        raise RuntimeError("the database was not prepared")
    definition = define(body, ids.job_id(server.now, bytes(10)), now=server.now, target_refusal=lambda _: None)
    async with SimDatabase(server).connection() as lent:
        await jobs.create(lent, [jobs.prepare(definition, tenant[0], server.now)])


async def _until(server: Server, instant: datetime) -> None:
    await asyncio.sleep(max(0.0, (instant - server.now).total_seconds()))


class SteadySender:
    """A `Sender` whose every call takes as long as the other, and succeeds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def send(self, call: Call, may_leave: MayLeave = lambda: True) -> AttemptResult:
        """Make a call."""
        del call, may_leave
        await asyncio.sleep(self._seconds)
        return Response(200, b"")

    def send_at_once(self, call: Call, told: Told) -> Abort:
        """Make a call on a connection that stands."""
        return told_later(asyncio.create_task(self.send(call)), told)

    async def close(self) -> None:
        """There is nothing to close."""
