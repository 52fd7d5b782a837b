"""`/livez` and `/readyz`."""

from starlette.requests import Request
from starlette.responses import Response

from countwheel import __version__
from countwheel.api.answers import json_answer
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.store import migrate, nodes
from countwheel.store.database import DatabaseUnavailableError


async def is_alive(_api: ApiParts, _request: Request) -> Response:
    """`GET /livez`: the process answers; the database is not asked."""
    return json_answer({"status": "ok", "version": __version__}, 200)


async def is_ready(api: ApiParts, _request: Request) -> Response:
    """`GET /readyz`: the database answers, its schema is ours, and a node holds a lease."""
    try:
        async with api.database.connection() as connection:
            schema = await migrate.read_status(connection)
            live_nodes = await nodes.count_live(connection) if schema.is_current else 0
    except DatabaseUnavailableError as error:
        raise _not_ready("the database cannot be reached") from error
    if not schema.is_current:
        raise _not_ready("the schema is older than this server: run `countwheel db migrate`")
    if live_nodes == 0:
        raise _not_ready("no node holds a lease: nothing is being called")
    return json_answer({"status": "ok", "version": __version__}, 200)


def _not_ready(detail: str) -> Problem:
    return Problem(503, "unavailable", detail=detail, headers={"Retry-After": "1"})
