"""`POST /v1/jobs/{jobId}/run/`: a run now, beside what the schedule says."""

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.idempotency_key import read_idempotency_key
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import REPLAYED, find_answer
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.job import JobStatus, compact_json
from countwheel.domain.run import Trigger
from countwheel.store import idempotency, manual_runs
from countwheel.store.changes import changing
from countwheel.store.manual_runs import KeyedAnswer


async def run_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Create a run that is due at once, with its own trigger and id; once for each key (criterion I1)."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    if key is None and api.settings.require_idempotency_key:
        raise Problem(400, "idempotency-key-missing", detail="this server requires an Idempotency-Key header")
    fingerprint = hashlib.sha256(job_id.bytes).digest()
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            raise not_found("job")
        if change.job.state in {JobStatus.DELETED, JobStatus.PAUSED}:
            raise Problem(409, "conflict", detail=f"the job is {change.job.state}: nothing of it is sent")
        moment = await manual_runs.find_moment(change)
        run_id = ids.run_id(job_id, moment, Trigger.MANUAL)
        answer = compact_json(views.new_run(job_id, run_id, moment, Trigger.MANUAL))
        created = await manual_runs.create(change, principal.tenant_id, moment, KeyedAnswer(key, fingerprint, answer))
    location = {"Location": f"/v1/jobs/{job_id}/run/{run_id}/"}
    if created:
        return json_answer(answer, 201, location)
    stored = await find_answer(api, idempotency.RUN_JOB, principal.tenant_id, key, fingerprint)
    return json_answer(stored, 201, REPLAYED)
