"""`/v1/jobs/{jobId}/run/`: list, read, cancel."""

import json
from datetime import datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer, page_answer
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.settling import settle
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.run import RunStatus, Trigger
from countwheel.domain.schedule import Recurring
from countwheel.store import cancellation, jobs, ledger
from countwheel.store.cancellation import CancelStep
from countwheel.store.ledger import RunFilter, RunRow

CANCELED = "CANCELED"
DELETED = "DELETE"


async def list_runs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/jobs/{jobId}/run/`: latest occurrence first, live and ended. A page may be short and yet lead on."""
    job_id = path_uuid(request, "jobId")
    parameters = Parameters(
        request, "status", "scheduled_after", "scheduled_before", "show_deleted", "page_size", "page_token"
    )
    narrow = RunFilter(
        status=parameters.choice("status", RunStatus),
        scheduled_after=parameters.instant("scheduled_after"),
        scheduled_before=parameters.instant("scheduled_before"),
        show_deleted=parameters.switch("show_deleted"),
    )
    page = parameters.page()
    async with api.database.connection() as connection:
        if await jobs.find(connection, principal.tenant_id, job_id) is None:
            raise not_found("job")
        found = await ledger.find_page(
            connection,
            principal.tenant_id,
            job_id,
            narrow,
            before=page.before,
            limit=page.size + 1,
            monotonic=api.clock.monotonic,
        )
    return page_answer(request, page, found.runs, views.run, lambda row: row.run_id, stopped_at=found.stopped_at)


async def read_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/jobs/{jobId}/run/{runId}/`: the run, with its attempts that did not simply succeed."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
    async with api.database.connection() as connection:
        row = await ledger.find(connection, principal.tenant_id, job_id, run_id)
        if row is None:
            raise not_found("run")
        attempts = await ledger.find_attempts(connection, principal.tenant_id, row)
        completion = await ledger.find_completion(connection, principal.tenant_id, row) if row.finished_at else None
    view = views.run(row) | {"attempts": [views.attempt(entry) for entry in attempts]}
    if completion is not None:
        view["completion"] = json.loads(completion)
    return json_answer(view, 200)


async def delete_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/jobs/{jobId}/run/{runId}/`: cancel what has not finished, hide what has. Final once answered."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")

    async def is_settled() -> bool:
        step = await cancellation.cancel_live(api.database, principal.tenant_id, job_id, run_id)
        return step is not CancelStep.ASKED

    await settle(api, is_settled)
    ended = await _find(api, principal.tenant_id, job_id, run_id)
    if ended is None:
        await _cancel_future(api, principal.tenant_id, job_id, run_id)
        # It may have been claimed, and even have ended, while it was being cancelled: the ledger knows.
        ended = await _find(api, principal.tenant_id, job_id, run_id)
    if ended is None or ended.status == RunStatus.CANCELED:
        return json_answer({"status": CANCELED}, 201)
    async with api.database.connection() as connection:
        await ledger.hide(connection, principal.tenant_id, job_id, run_id)
    return json_answer({"status": DELETED}, 201)


async def _cancel_future(api: ApiParts, tenant_id: UUID, job_id: UUID, run_id: UUID) -> None:
    """Cancel an occurrence that has no row yet, named by its deterministic id. Raises the 404 for anything else."""
    async with api.database.connection() as connection:
        schedule = await cancellation.find_schedule(connection, tenant_id, job_id)
    scheduled_for = ids.time_of(run_id)
    if schedule is None or scheduled_for is None or not _names(schedule, job_id, run_id, scheduled_for):
        raise not_found("run")
    if scheduled_for <= api.clock.now():
        raise not_found("run")

    async def is_settled() -> bool:
        step = await cancellation.cancel_future(api.database, tenant_id, job_id, run_id, scheduled_for)
        return step is not CancelStep.ASKED

    await settle(api, is_settled)


def _names(schedule: Recurring, job_id: UUID, run_id: UUID, scheduled_for: datetime) -> bool:
    return ids.run_id(job_id, scheduled_for, Trigger.SCHEDULE) == run_id and schedule.is_occurrence(scheduled_for)


async def _find(api: ApiParts, tenant_id: UUID, job_id: UUID, run_id: UUID) -> RunRow | None:
    async with api.database.connection() as connection:
        return await ledger.find(connection, tenant_id, job_id, run_id)
