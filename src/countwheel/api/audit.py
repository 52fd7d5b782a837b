"""`GET /v1/jobs/{jobId}/audit`: what should have been against what is on record, for one job."""

from collections import Counter
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, next_link
from countwheel.api.jobs import not_found
from countwheel.api.paging import Page
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.audit import BROKEN, Finding, Found, Scope
from countwheel.domain.run import Trigger
from countwheel.store import audit, jobs
from countwheel.store.audit import Question

_SCANNED_A_PAGE = 10_000
_DEFAULT_SPAN = timedelta(days=1)
_LATE_AFTER = timedelta(seconds=1)


async def audit_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Compare the job's occurrences with the ledger, from `from` (by default a day ago) up to `to` (by default now)."""
    parameters = Parameters(request, "from", "to", "show_ran", "page_size", "page_token")
    job_id, page, show_ran = path_uuid(request, "jobId"), parameters.page(), parameters.switch("show_ran")
    async with api.long_reads.transaction() as connection:
        now = await audit.begin(connection)
        scope = _scope(parameters, page, now)
        job = await jobs.find(connection, principal.tenant_id, job_id)
        if job is None:
            raise not_found("job")
        question = Question(scope, principal.tenant_id, job_id)
        totals: Counter[Finding] = Counter()
        items: list[dict[str, Any]] = []
        repeats, resume_at = 0, None
        async with aclosing(audit.audit_jobs(connection, question)) as answers:
            async for answer in answers:
                if (found := answer.found) is None:
                    continue
                if len(items) >= page.size or totals.total() >= _SCANNED_A_PAGE:
                    resume_at = found.scheduled_for
                    break
                totals[found.finding] += found.occurrences
                repeats += found.repeats
                if show_ran or found.finding is not Finding.RAN:
                    items.append(_view(job_id, found))
    return _answer(request, page, scope, totals, items, repeats=repeats, resume_at=resume_at)


def _scope(parameters: Parameters, page: Page, now: datetime) -> Scope:
    end = min(parameters.instant("to") or now, now)  # what is to come is nobody's omission yet
    start = parameters.instant("from") or end - _DEFAULT_SPAN
    # An earlier page has stopped before its end, and the end does not move back.
    if (goes_on := page.number(most=ids.milliseconds_of(end))) is not None:
        start = ids.instant_of(goes_on)
    return Scope(start, end, now, _LATE_AFTER)


def _answer(
    request: Request,
    page: Page,
    scope: Scope,
    totals: Counter[Finding],
    items: list[dict[str, Any]],
    *,
    repeats: int,
    resume_at: datetime | None,
) -> Response:
    token = "" if resume_at is None else page.token_after(str(ids.milliseconds_of(resume_at)))
    body = {
        "from": timestamp(scope.start),
        "to": timestamp(resume_at or scope.end),
        "ok": not any(totals[finding] for finding in BROKEN),
        "totals": {finding.value: totals[finding] for finding in Finding},
        "repeats": repeats,
        "items": items,
        "next_page_token": token,
    }
    return json_answer(body, 200, next_link(request, token))


def _view(job_id: UUID, found: Found) -> dict[str, Any]:
    return {
        "run_id": str(ids.run_id(job_id, found.scheduled_for, Trigger.SCHEDULE)),
        "scheduled_for": timestamp(found.scheduled_for),
        "finding": found.finding.value,
        "reason": found.reason,
        "occurrences": found.occurrences,
        "repeats": found.repeats,
    }
