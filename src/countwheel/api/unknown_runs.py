"""Runs whose outcome nobody knows (UNKNOWN): sent again, or resolved by a person who has found out."""

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.redrive import find_run, send_again
from countwheel.auth.principal import Principal
from countwheel.domain.run import RunStatus
from countwheel.store import resolution
from countwheel.store.ledger import RunRow


async def retry_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/run/{runId}/retry`: send an UNKNOWN run again, now, under its own id."""
    return await send_again(api, request, principal, (RunStatus.UNKNOWN,), _not_unknown)


async def resolve_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/run/{runId}/resolve`: write down what became of an UNKNOWN run. It stays UNKNOWN."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
    body = api.contract.checked("Resolution", await read_json(request, api.settings.max_body_bytes))
    async with api.database.connection() as connection:
        resolved = await resolution.resolve(
            connection,
            principal.tenant_id,
            job_id,
            run_id,
            outcome=body["as"],
            by=principal.name,
            note=body.get("note"),
        )
    row = await find_run(api, principal, job_id, run_id)
    if not resolved and row.resolution != body["as"]:
        raise _not_unknown(row)
    return json_answer(views.run(row), 200)


def _not_unknown(row: RunRow) -> Problem:
    if row.status == RunStatus.UNKNOWN:
        return Problem(409, "conflict", detail=f"the run is resolved already, as {row.resolution}")
    return Problem(409, "conflict", detail=f"the run is {row.status}, not UNKNOWN")
