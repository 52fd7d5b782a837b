"""`GET /v1/forecast`: how many runs the next minutes will have, from the schedules."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain.forecast import Forecast, follow
from countwheel.store import forecast

_HOURS = 24
_MINUTE = timedelta(minutes=1)
_TARGETS = 20
_BUSIEST = 10


async def read_forecast(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Return the runs of each minute, of all targets and of those that are called most."""
    parameters = Parameters(request, "hours", "target")
    hours = parameters.whole_number("hours", 1, _HOURS, _HOURS)
    target = next(iter(parameters.shaped("target", api.contract, "TargetFilter")), None)
    start = api.clock.now().replace(second=0, microsecond=0)
    end = start + timedelta(hours=hours)
    async with api.long_reads.connection() as connection:
        groups = await forecast.find_groups(connection, principal.tenant_id, target)
        singles = await forecast.find_singles(connection, principal.tenant_id, target, start, end)
    # In a thread: it is seconds of work at the worst, and calls are due meanwhile.
    found = await asyncio.to_thread(follow, groups.groups, start, hours * 60, groups.others)
    for minute, host, count in singles:
        place = (minute - start) // _MINUTE
        found.runs[place] += count
        found.by_target.setdefault(host, Counter())[place] += count
    return json_answer(_view(found, end, groups.jobs + sum(count for _, _, count in singles)), 200)


def _view(found: Forecast, end: datetime, jobs: int) -> dict[str, Any]:
    totals = {target: runs.total() for target, runs in found.by_target.items()}
    most = sorted((target for target, runs in totals.items() if runs), key=lambda target: (-totals[target], target))
    busiest = sorted(found.runs.items(), key=lambda entry: (-entry[1], entry[0]))[:_BUSIEST]
    return {
        "from": timestamp(found.start),
        "to": timestamp(end),
        "jobs": jobs,
        "runs": found.runs.total(),
        "estimated": found.estimated,
        "minutes": _series(found, found.runs),
        "busiest": [
            {"at": timestamp(found.start + minute * _MINUTE), "runs": runs} for minute, runs in busiest if runs
        ],
        "targets": [
            {"target": target, "runs": totals[target], "minutes": _series(found, found.by_target[target])}
            for target in most[:_TARGETS]
        ],
        "other_targets": max(0, len(most) - _TARGETS),
    }


def _series(found: Forecast, runs: Counter[int]) -> list[int]:
    return [runs[minute] for minute in range(found.minutes)]
