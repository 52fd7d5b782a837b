"""`GET /v1/audit-log`: who did what to which resource, from where, with which key, and what became of it."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import page_answer
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.store import audit_log
from countwheel.store.audit_log import EntryFilter, EntryRow

_FILTERS = ("principal", "action", "resource", "after", "before")


async def list_entries(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Latest first, by who, what, on which resource, and when."""
    parameters = Parameters(request, *_FILTERS, "page_size", "page_token")
    page = parameters.page()
    for name in ("principal", "action", "resource"):
        parameters.shaped(name, api.contract, "AuditText")
    narrow = EntryFilter(
        principal=parameters.text("principal"),
        action=parameters.text("action"),
        resource=parameters.text("resource"),
        after_time=parameters.instant("after"),
        before_time=parameters.instant("before"),
    )
    async with api.long_reads.connection() as connection:
        rows = await audit_log.read(connection, principal.tenant_id, narrow, before=page.before, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.entry_id)


def _view(row: EntryRow) -> dict[str, Any]:
    return {
        "entry_id": str(row.entry_id),
        "at": timestamp(row.at),
        "principal": row.principal,
        "key_id": row.key_id,
        "source_ip": row.source_ip,
        "action": row.action,
        "resource": row.resource,
        "status": row.status,
        "request_id": str(row.request_id),
        "before": None if row.before is None else json.loads(row.before),
        "after": None if row.after is None else json.loads(row.after),
    }
