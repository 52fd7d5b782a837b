"""`GET /v1/jobs/{jobId}/versions`: what a job was, and since when it is what it is."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import page_answer
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain.terms import decode, write_terms
from countwheel.store import jobs, versions
from countwheel.store.changes import as_submitted
from countwheel.store.jobs import JobRow
from countwheel.store.versions import VersionRow

_GREATEST = 2**31 - 1
"""No version is greater: the column is an `int4`."""


async def list_versions(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Return a page of versions, latest first, each as it would be submitted."""
    page = Parameters(request, "page_size", "page_token").page()
    job_id = path_uuid(request, "jobId")
    before = page.number(_GREATEST)
    async with api.database.connection() as connection:
        job = await jobs.find(connection, principal.tenant_id, job_id)
        if job is None:
            raise not_found("job")
        rows = await versions.find_page(connection, principal.tenant_id, job_id, before=before, limit=page.size + 1)
    return page_answer(request, page, rows, lambda row: _view(job, row), lambda row: str(row.version))


def _view(job: JobRow, row: VersionRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "status": row.state,
        "effective_from": timestamp(row.effective_from),
        "effective_until": timestamp(row.effective_until),
        "pause_reason": row.pause_reason,
        "job": as_submitted(job) if row.version == job.version else _as_it_was(row),
    }


def _as_it_was(row: VersionRow) -> dict[str, Any]:
    if row.definition is not None:
        definition: dict[str, Any] = json.loads(row.definition)
        return definition
    schedule = {name: getattr(row, name) for name in ("schedule_recurring", "schedule_oneoff", "timezone")}
    return {name: value for name, value in schedule.items() if value is not None} | write_terms(decode(row.terms))
