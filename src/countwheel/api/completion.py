"""`POST /v1/jobs/{jobId}/run/{runId}/complete` and `/heartbeat`: what a target says of a run that it has accepted."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.body import read_json, read_optional_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.security import Caller
from countwheel.domain.job import compact_json
from countwheel.domain.long_work import MAX_RESULT_BYTES, Completion
from countwheel.domain.run import RunStatus
from countwheel.store import long_work
from countwheel.store.long_work import NotCompleted, WorkGoesOn, WorkIsOver

_MAX_BODY_BYTES = 6 * MAX_RESULT_BYTES + 8_192
"""A result of the greatest size with every character escaped, and the rest."""
_MAX_PROGRESS_BYTES = 4_096


async def complete_run(api: ApiParts, request: Request, caller: Caller) -> Response:
    """End a run as its target says, or have it tried again. Repeating it gives the same answer."""
    completion = await _read_completion(api, request)
    async with api.database.transaction() as connection:
        answer = await long_work.complete(
            connection, _named(request, caller), completion, caller.fence, jitter=api.chance.uniform(0.0, 1.0)
        )
    if answer is None:
        raise not_found("run")
    if isinstance(answer, NotCompleted):
        detail = f"the run is {answer.status}: {answer.why}"
        raise Problem(409, "conflict", detail=detail, members={"run_status": answer.status})
    view = _view(request) | {"status": answer.status}
    return json_answer(view if answer.resolution is None else view | {"resolution": answer.resolution}, 200)


async def take_heartbeat(api: ApiParts, request: Request, caller: Caller) -> Response:
    """Take note that a target is at work, and say whether it is to go on."""
    body = api.contract.checked("Heartbeat", await read_optional_json(request, _MAX_PROGRESS_BYTES))
    progress = body.get("progress")
    text = None if progress is None else progress if isinstance(progress, str) else compact_json(progress)
    async with api.database.connection() as connection:
        answer = await long_work.heartbeat(connection, _named(request, caller), text, caller.fence)
    match answer:
        case WorkGoesOn(deadline_at, heartbeat_due_at):
            view = {
                "status": RunStatus.RUNNING,
                "continue": True,
                "deadline_at": views.timestamp(deadline_at),
                "heartbeat_due_at": views.timestamp(heartbeat_due_at),
            }
        case WorkIsOver(status):
            view = {"status": status, "continue": False, "deadline_at": None, "heartbeat_due_at": None}
        case None:
            raise not_found("run")
    return json_answer(_view(request) | view, 200)


async def _read_completion(api: ApiParts, request: Request) -> Completion:
    body = api.contract.checked("Completion", await read_json(request, _MAX_BODY_BYTES))
    result = compact_json(body["result"]) if "result" in body else None
    if result is not None and len(result.encode()) > MAX_RESULT_BYTES:
        raise Problem(413, "body-too-large", detail=f"the result is over {MAX_RESULT_BYTES} bytes")
    succeeded = body["status"] == RunStatus.SUCCEEDED
    return Completion(succeeded, result, body.get("error"), not succeeded and bool(body.get("retry")))


def _named(request: Request, caller: Caller) -> tuple[UUID, UUID, UUID]:
    return caller.tenant_id, path_uuid(request, "jobId"), path_uuid(request, "runId")


def _view(request: Request) -> dict[str, Any]:
    return {"job_id": str(path_uuid(request, "jobId")), "run_id": str(path_uuid(request, "runId"))}
