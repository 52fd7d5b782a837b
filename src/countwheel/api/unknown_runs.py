"""Runs whose outcome nobody knows (UNKNOWN): sent again, or resolved by a person who has found out."""

from collections.abc import Mapping
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError
from countwheel.domain.job import JobStatus
from countwheel.domain.run import LIVE, RunStatus
from countwheel.store import ledger, resolution
from countwheel.store.changes import changing
from countwheel.store.ledger import RunRow


async def retry_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/run/{runId}/retry`: send an UNKNOWN run again, now, under its own id."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            raise not_found("run")
        if change.job.state in {JobStatus.DELETED, JobStatus.PAUSED}:
            raise Problem(409, "conflict", detail=f"its job is {change.job.state}: nothing of it is sent")
        sent = await resolution.send_again(
            change.connection, principal.tenant_id, job_id, run_id, by=principal.client_id
        )
    row = await _find(api, principal, job_id, run_id)
    if not sent and row.status not in LIVE:
        raise _not_unknown(row)
    return json_answer(views.run(row), 200)


async def resolve_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/run/{runId}/resolve`: write down what became of an UNKNOWN run. It stays UNKNOWN."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
    body = await read_json(request, api.settings.max_body_bytes)
    faults = api.contract.faults("Resolution", body)
    if faults or not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    async with api.database.connection() as connection:
        resolved = await resolution.resolve(
            connection,
            principal.tenant_id,
            job_id,
            run_id,
            outcome=body["as"],
            by=principal.client_id,
            note=body.get("note"),
        )
    row = await _find(api, principal, job_id, run_id)
    if not resolved and row.resolution != body["as"]:
        raise _not_unknown(row)
    return json_answer(views.run(row), 200)


async def _find(api: ApiParts, principal: Principal, job_id: UUID, run_id: UUID) -> RunRow:
    async with api.database.connection() as connection:
        row = await ledger.find(connection, principal.tenant_id, job_id, run_id)
    if row is None:
        raise not_found("run")
    return row


def _not_unknown(row: RunRow) -> Problem:
    if row.status == RunStatus.UNKNOWN:
        return Problem(409, "conflict", detail=f"the run is resolved already, as {row.resolution}")
    return Problem(409, "conflict", detail=f"the run is {row.status}, not UNKNOWN")
