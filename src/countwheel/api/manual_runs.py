"""`POST /v1/jobs/{jobId}/run/`: a run now, beside what the schedule says."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.idempotency_key import read_wanted_key
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import REPLAYED, find_answer, find_replay
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.job import JobStatus, compact_json
from countwheel.domain.run import Trigger
from countwheel.store import idempotency, manual_runs
from countwheel.store.changes import JobChange, changing
from countwheel.store.idempotency import KeyedAnswer


@dataclass(frozen=True, slots=True)
class RunNow:
    """A run that was created, and its answer; `created` is false where the key was used before."""

    run_id: UUID
    answer: str
    created: bool


async def run_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Create a run that is due at once, with its own trigger and id; once for each key (criterion I1)."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    key = read_wanted_key(request, required=api.settings.require_idempotency_key)
    try:
        run = await _create(api, principal, job_id, key)
    except Problem:
        # The quota is used up, or the job was paused or deleted: maybe since the run was created.
        replay = await find_replay(api, idempotency.RUN_JOB, principal.tenant_id, key, _fingerprint(job_id))
        if replay is None:
            raise
        return replay
    if run.created:
        return json_answer(run.answer, 201, {"Location": f"/v1/jobs/{job_id}/run/{run.run_id}/"})
    stored = await find_answer(api, idempotency.RUN_JOB, principal.tenant_id, key, _fingerprint(job_id))
    return json_answer(stored, 201, REPLAYED)


async def _create(api: ApiParts, principal: Principal, job_id: UUID, key: str | None) -> RunNow:
    await api.quotas.take_run(principal.tenant_id)
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            raise not_found("job")
        check_is_sent(change.job.state)
        return await run_now(change, key)


def check_is_sent(job_state: str) -> None:
    """Raise the 409 problem for a job of which nothing is sent."""
    if job_state in {JobStatus.DELETED, JobStatus.PAUSED}:
        raise Problem(409, "conflict", detail=f"the job is {job_state}: nothing of it is sent")


async def run_now(change: JobChange, key: str | None) -> RunNow:
    """Create a run of a job that is due at once."""
    job_id = change.job.job_id
    moment = await manual_runs.find_moment(change)
    run_id = ids.run_id(job_id, moment, Trigger.MANUAL)
    answer = compact_json(views.new_run(job_id, run_id, moment, Trigger.MANUAL))
    created = await manual_runs.create(change, moment, KeyedAnswer(key, _fingerprint(job_id), answer))
    return RunNow(run_id, answer, created)


def _fingerprint(job_id: UUID) -> bytes:
    return hashlib.sha256(job_id.bytes).digest()
