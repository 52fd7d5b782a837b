"""`/v1/jobs`: create, read, list, delete."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_document
from countwheel.api.etag import check_match, etag, read_if_match
from countwheel.api.idempotency_key import read_wanted_key
from countwheel.api.named import Named, named_by
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.recording import entry_of_change, note_recorded
from countwheel.api.replay import REPLAYED, find_stored, same_meaning
from countwheel.api.settling import settle
from countwheel.auth.principal import Principal
from countwheel.domain import calling, ids
from countwheel.domain.cron import doubts
from countwheel.domain.errors import Fault, InvalidError, together
from countwheel.domain.interval import is_every
from countwheel.domain.job import Definition, JobStatus, define, find_faults
from countwheel.domain.schedule import recurring_of
from countwheel.store import cancellation, idempotency, jobs
from countwheel.store.changes import holding
from countwheel.store.idempotency import StoredAnswer
from countwheel.store.jobs import JobFilter, NewJob

_ENTROPY_BYTES = 10
FIRST_VERSION = 1
DELETE_REASON = "its job was deleted"


async def create_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs`: one job a submission, however often it is repeated with the same key (promise 1)."""
    key = read_wanted_key(request, required=api.settings.require_idempotency_key)
    body, is_plain = await read_document(request, api.settings.max_body_bytes)
    fingerprint = hashlib.sha256(canonical(body, is_plain=is_plain)).digest() if key is not None else None
    try:
        created = await _create(api, request, principal, body, key=key, fingerprint=fingerprint)
    except (InvalidError, Problem):
        # What is past, gone or used up now need not have been so at first. Asked only here (decision 0026).
        created = await find_stored(api, idempotency.CREATE_JOB, principal.tenant_id, key)
        if created is None:
            raise
    if isinstance(created, Response):
        return created
    answer = same_meaning(created, fingerprint)
    return json_answer(answer, 201, {"Location": f"/v1/jobs/{_created_before(answer).job_id}"} | REPLAYED)


class _CreatedBefore(msgspec.Struct):
    job_id: str


_created_before = msgspec.json.Decoder(_CreatedBefore).decode


async def _create(
    api: ApiParts, request: Request, principal: Principal, body: object, *, key: str | None, fingerprint: bytes | None
) -> Response | StoredAnswer | None:
    """Create a job. Where its key was used before nothing is created, and what `Met.stored` says is returned."""
    created_at = ids.instant_of(ids.milliseconds_of(api.clock.now()))
    job_id = ids.job_id(created_at, api.chance.token_bytes(_ENTROPY_BYTES))
    named = await named_by(api, principal.tenant_id, body)
    definition = define_submission(api, body, job_id, named, now=created_at)
    job = jobs.prepare(definition, principal.tenant_id, created_at)
    view = views.new_job(job, await find_warnings(api, job))
    answer = msgspec.json.encode(view).decode()
    if key is not None:
        job = job._replace(key=key, fingerprint=fingerprint, answer=answer)
    await api.quotas.take_create(job.tenant_id, len(job.job_payload.encode()))
    met = await api.creator.create(job, entry_of_change(request, job_id, 201, view))
    if met is not None:
        return met.stored
    note_recorded(request)
    return json_answer(answer, 201, {"Location": f"/v1/jobs/{job_id}", "ETag": etag(FIRST_VERSION)})


async def find_warnings(api: ApiParts, job: NewJob) -> list[str]:
    """Return what is right in a new job and yet probably not what is meant, or not wise."""
    found = calling.doubts(calling.decode(job.calling))
    schedule = recurring_of(job)
    if schedule is None or is_every(schedule.expression):
        return found
    found += doubts(schedule.expression)
    if (crowd := await api.busy.warning(job, schedule)) is not None:
        found.append(crowd)
    return found


async def list_jobs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/jobs`: newest first. A page may be shorter than asked for, or empty, and still lead on."""
    parameters = Parameters(
        request,
        "status", "target", "label", "name", "q", "created_after", "created_before", "show_deleted", "page_size",
        "page_token",
    )  # fmt: skip
    narrow = JobFilter(
        status=parameters.choice("status", JobStatus),
        target=next(iter(parameters.shaped("target", api.contract, "TargetFilter")), None),
        labels=[label.partition(":")[::2] for label in parameters.shaped("label", api.contract, "LabelFilter")],
        name=next(iter(parameters.shaped("name", api.contract, "JobName")), None),
        text=next(iter(parameters.shaped("q", api.contract, "SearchText")), None),
        created_after=parameters.instant("created_after"),
        created_before=parameters.instant("created_before"),
        show_deleted=parameters.switch("show_deleted"),
    )
    page = parameters.page()
    async with api.database.connection() as connection:
        found = await jobs.find_page(
            connection,
            principal.tenant_id,
            narrow,
            before=page.before,
            limit=page.size + 1,
            monotonic=api.clock.monotonic,
        )
    return page_answer(request, page, found.jobs, views.stored_job, lambda row: row.job_id, stopped_at=found.stopped_at)


async def read_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/jobs/{jobId}`."""
    Parameters(request)
    view, version = await read_view(api, principal.tenant_id, path_uuid(request, "jobId"))
    return json_answer(view, 200, {"ETag": etag(version)})


async def delete_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/jobs/{jobId}`: soft; its live runs end as CANCELED before the answer."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    wanted = read_if_match(request.headers.getlist("if-match"))
    async with holding(api.database, principal.tenant_id, job_id) as held:
        if held is None:
            raise not_found("job")
        check_match(held.job.version, wanted)
        await jobs.mark_deleted(held.connection, principal.tenant_id, job_id)

    async def all_ended() -> bool:
        return await cancellation.cancel_job_runs(api.database, principal.tenant_id, job_id, DELETE_REASON)

    await settle(api, all_ended)
    view, version = await read_view(api, principal.tenant_id, job_id)
    return json_answer(view, 201, {"ETag": etag(version)})


def not_found(what: str) -> Problem:
    """Return the 404 that an unknown id and another tenant's id share to the letter (criterion E4)."""
    return Problem(404, "not-found", detail=f"there is no such {what}")


async def read_view(api: ApiParts, tenant_id: UUID, job_id: UUID) -> tuple[dict[str, Any], int]:
    """Return a job as the API shows it, and its version. Raises the 404 problem."""
    async with api.database.connection() as connection:
        job = await jobs.find(connection, tenant_id, job_id)
    if job is None:
        raise not_found("job")
    return views.stored_job(job), job.version


def define_submission(api: ApiParts, body: object, job_id: UUID, named: Named, *, now: datetime) -> Definition:
    """Return what a body means at `now`. Raises `InvalidError` with every fault of shape and of meaning (E2)."""
    faults = api.contract.faults("JobSubmission", body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    if not faults and not named.faults:
        return define(body, job_id, now=now, target_refusal=api.target_refusal, calendars=named.calendars)
    of_meaning, _ = find_faults(body, job_id, now=now, target_refusal=api.target_refusal, calendars=named.calendars)
    raise InvalidError(together(faults, [*of_meaning, *named.faults]))


def canonical(body: object, *, is_plain: bool) -> bytes:
    """Return a document in the one form that its fingerprint is of.

    White space and the order of keys do not change the meaning; numbers keep their JSON spelling class.
    """
    if is_plain:
        return msgspec.json.encode(body, order="sorted")  # the same bytes, at a quarter of the cost
    return json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
