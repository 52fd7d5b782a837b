"""`/livez` and `/readyz`."""

from starlette.requests import Request
from starlette.responses import Response

from countwheel import __version__
from countwheel.api.answers import json_answer
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.store import durability, migrate, nodes
from countwheel.store.database import Connection, DatabaseUnavailableError
from countwheel.store.durability import DatabaseWarning

CLOCK_SKEW_LIMIT_MS = 500.0
"""How far a node's clock may be from the database's before that is an alarm. Nothing is decided by a node's clock, but
logs, TLS and external tokens are read by it."""


async def is_alive(_api: ApiParts, _request: Request) -> Response:
    """`GET /livez`: the process answers; the database is not asked."""
    return json_answer({"status": "ok", "version": __version__}, 200)


async def is_ready(api: ApiParts, _request: Request) -> Response:
    """`GET /readyz`: the database answers, its schema is ours, and a node holds a lease.

    `warnings` tells what works now and may not tomorrow: settings that can lose what was acknowledged, clocks that
    disagree.
    """
    try:
        async with api.database.connection() as connection:
            schema = await migrate.read_status(connection)
            if not schema.is_current:
                raise _not_ready("the schema is older than this server: run `countwheel db migrate`")
            if await nodes.count_live(connection) == 0:
                raise _not_ready("no node holds a lease: nothing is being called")
            warnings = [*await durability.find_warnings(connection), *await _skewed_clocks(connection)]
    except DatabaseUnavailableError as error:
        raise _not_ready("the database cannot be reached") from error
    shown = [{"code": warning.code, "detail": warning.detail} for warning in warnings]
    return json_answer({"status": "ok", "version": __version__, "warnings": shown}, 200)


async def _skewed_clocks(connection: Connection) -> list[DatabaseWarning]:
    return [
        DatabaseWarning(
            "clock-skew",
            f"the clock of node {node_id} is {abs(offset_ms):.0f} ms {'ahead of' if offset_ms > 0 else 'behind'} the "
            "database's: run NTP on both machines",
        )
        for node_id, offset_ms in await nodes.find_skewed(connection, limit_ms=CLOCK_SKEW_LIMIT_MS)
    ]


def _not_ready(detail: str) -> Problem:
    return Problem(503, "unavailable", detail=detail, headers={"Retry-After": "1"})
