"""`GET /v1/nodes`: who works, since when, by what clock. For the operators: nodes work for every tenant."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import page_answer
from countwheel.api.operators import only_operators
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.store import nodes
from countwheel.store.nodes import NodeRow


async def list_nodes(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/nodes`: by id; nodes that ended stay listed for a day."""
    await only_operators(api, principal)  # how much the nodes hold would tell a tenant of the others
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await nodes.find_page(connection, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.node_id)


def _view(row: NodeRow) -> dict[str, Any]:
    return {
        "node_id": row.node_id,
        "roles": row.roles,
        "host": row.host,
        "pid": row.pid,
        "version": row.version,
        "status": row.status,
        "started_at": timestamp(row.started_at),
        "heartbeat_at": timestamp(row.heartbeat_at),
        "lease_until": timestamp(row.lease_until),
        "ended_at": timestamp(row.ended_at),
        "clock_offset_ms": None if row.clock_offset_ms is None else round(row.clock_offset_ms, 3),
        "held_runs": row.held_runs,
    }
