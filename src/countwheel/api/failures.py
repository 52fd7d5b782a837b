"""`GET /v1/failures`: what failed lately, by what it looks like, each with the filter that redrives it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.store import failures, nodes
from countwheel.store.failures import FailureGroup, Span

_LOOKS_BACK = timedelta(days=1)
_LIMIT, _MOST = 50, 200


async def list_failures(api: ApiParts, request: Request, principal: Principal) -> Response:
    """The groups with the most failures. What was read is bounded, and the answer says from when on it is complete."""
    parameters = Parameters(request, "from", "to", "job_id", "target", "limit")
    job_id = next(map(UUID, parameters.shaped("job_id", api.contract, "Id")), None)
    target = next(iter(parameters.shaped("target", api.contract, "TargetFilter")), None)
    limit = parameters.whole_number("limit", 1, _MOST, _LIMIT)
    start, end = parameters.instant("from"), parameters.instant("to")
    async with api.long_reads.connection() as connection:
        if end is None:
            # The end of this millisecond: what is shown is whole milliseconds, and is to be asked for again.
            end = ids.instant_of(ids.milliseconds_of(await nodes.database_time(connection)) + 1)
        start = start or end - _LOOKS_BACK
        groups = await failures.group(connection, principal.tenant_id, Span(start, end, job_id, target), limit=limit)
    read = groups[0].failures if groups else 0
    is_complete = read < failures.MOST_READ
    answer = {
        "from": timestamp(start if is_complete else groups[0].since),
        "to": timestamp(end),
        "failures": read,
        "complete": is_complete,
        "items": [_view(group, start, end) for group in groups],
        "other_groups": groups[0].groups - len(groups) if groups else 0,
    }
    return json_answer(answer, 200)


def _view(group: FailureGroup, start: datetime, end: datetime) -> dict[str, Any]:
    samples = [sample.split("/") for sample in group.samples]
    return {
        "fingerprint": group.fingerprint,
        "target": group.target,
        "error_class": group.error_class,
        "error": group.error,
        "count": group.count,
        "first_at": timestamp(group.first_at),
        "last_at": timestamp(group.last_at),
        "jobs": group.jobs,
        "redriven": group.redriven,
        "resolved": group.resolved,
        "runs": [{"job_id": job_id, "run_id": run_id} for job_id, run_id in samples],
        "filter": {
            "fingerprint": group.fingerprint,
            "finished_after": timestamp(start),
            "finished_before": timestamp(end),
        },
    }
