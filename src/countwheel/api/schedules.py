"""`POST /v1/schedules:preview` and `:simulate`: what a schedule means and does, before any job has it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.named import named_by
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.errors import Fault, InvalidError, ScheduleError, together
from countwheel.domain.job import find_schedule_faults
from countwheel.domain.preview import Fire, preview, preview_once
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import Recurring, parse_recurring
from countwheel.domain.simulation import Row, Scenario, simulate
from countwheel.domain.terms import Calendars, read_terms
from countwheel.domain.timestamp import parse_oneoff, wall_time
from countwheel.domain.zones import zone

_DEFAULT_COUNT = 10
_DEFAULT_SPAN = timedelta(days=1)
_NO_ENTROPY = bytes(10)


async def preview_schedule(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Say what a schedule means, when it fires next, and what the clock changes in between do to it."""
    Parameters(request)
    asked = await _read(api, request, principal, "SchedulePreview")
    body, after = asked.body, asked.after
    if "schedule_oneoff" in body:
        place, due_at = body.get("timezone", "UTC"), read_terms(body).due_once(asked.job_id, asked.first)
        found = preview_once(asked.first, due_at, wall_time(body["schedule_oneoff"]), place)
    else:
        schedule = _schedule(asked)
        place, found = schedule.timezone, preview(schedule, after, int(body.get("count", _DEFAULT_COUNT)))
    answer = {
        "meaning": found.meaning,
        "timezone": place,
        "fires": [_fire(fire, place, body.get("display_timezone")) for fire in found.fires],
        "excluded": [
            {"at": timestamp(left_out.instant), "local": _local(left_out.instant, place), "reason": left_out.reason}
            for left_out in found.left_out
        ],
        "clock_changes": [{"at": timestamp(change.at), "effect": change.effect} for change in found.clock_changes],
        "warnings": list(found.warnings),
    }
    return json_answer(answer, 200)


async def simulate_schedule(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Say what the policies of a recurring job make of an outage: what would run, wait, be skipped, expire."""
    Parameters(request)
    asked = await _read(api, request, principal, "ScheduleSimulation")
    scenario = _scenario(asked)
    # In a thread: thousands of decisions in one go would make calls late that are due meanwhile.
    told = await asyncio.to_thread(simulate, _schedule(asked), scenario)
    totals = Counter[str]()
    for row in told.rows:
        totals[row.status] += row.occurrences
    answer = {
        "from": timestamp(scenario.start),
        "to": timestamp(scenario.end),
        "totals": {status.value: totals[status] for status in RunStatus if status is not RunStatus.CLAIMED},
        "complete": told.is_whole,
        "runs": [_row(row) for row in told.rows],
    }
    return json_answer(answer, 200)


@dataclass(frozen=True, slots=True)
class _Asked:
    body: Mapping[str, Any]
    calendars: Calendars
    job_id: UUID
    after: datetime
    first: datetime


async def _read(api: ApiParts, request: Request, principal: Principal, schema: str) -> _Asked:
    """Return what is asked. Raises `InvalidError` with every fault (criterion E2)."""
    body = await read_json(request, api.settings.max_body_bytes)
    faults = api.contract.faults(schema, body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    after = _begin(body, api.clock.now(), faults)
    job_id = UUID(body["job_id"]) if "job_id" in body and not faults else ids.job_id(after, _NO_ENTROPY)
    calendars = (await named_by(api, principal.tenant_id, body)).calendars
    of_meaning, first = find_schedule_faults(body, job_id, now=after, calendars=calendars)
    if faults or of_meaning or first is None:
        raise InvalidError(together(faults, of_meaning))
    return _Asked(body, calendars, job_id, after, first)


def _scenario(asked: _Asked) -> Scenario:
    """Return what is to happen. Raises `InvalidError` for an outage or an end that lies before its beginning."""
    faults: list[Fault] = []
    outage = None
    if (given := asked.body.get("outage")) is not None:
        outage = (_moment(given["from"], "#/outage/from", faults), _moment(given["to"], "#/outage/to", faults))
        if outage[1] <= outage[0]:
            faults.append(Fault("#/outage/to", "must be later than from"))
    end = asked.after + _DEFAULT_SPAN
    if (until := asked.body.get("to")) is not None:
        end = _moment(until, "#/to", faults)
        if end <= asked.after:
            faults.append(Fault("#/to", "must be later than from"))
    if faults:
        raise InvalidError(faults)
    return Scenario(asked.after, end, timedelta(seconds=asked.body.get("run_seconds", 0)), outage)


def _moment(text: str, pointer: str, faults: list[Fault]) -> datetime:
    try:
        return parse_oneoff(text, None)
    except ScheduleError as error:
        faults.append(Fault(pointer, str(error)))
        return datetime.max.replace(tzinfo=UTC)


def _row(row: Row) -> dict[str, Any]:
    view: dict[str, Any] = {
        "scheduled_for": timestamp(row.scheduled_for),
        "status": row.status,
        "started_at": timestamp(row.started_at),
        "reason": row.reason or None,
    }
    if row.superseded_by is not None:
        view |= {"occurrences": row.occurrences, "superseded_by": timestamp(row.superseded_by)}
    return view


def _begin(body: Mapping[str, Any], now: datetime, faults: list[Fault]) -> datetime:
    """Return from when on is asked. Adds a fault where that is no instant."""
    if not isinstance(text := body.get("from"), str):
        return now
    try:
        return parse_oneoff(text, None)
    except ScheduleError as error:
        faults[:] = together(faults, [Fault("#/from", str(error))])
        return now


def _schedule(asked: _Asked) -> Recurring:
    body = asked.body
    terms = read_terms(body, asked.calendars)
    return parse_recurring(body["schedule_recurring"], body.get("timezone"), asked.job_id, terms)


def _fire(fire: Fire, place: str, display: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {"at": timestamp(fire.instant), "local": _local(fire.instant, place), "note": fire.note}
    if fire.due_at != fire.instant:
        view["due_at"] = timestamp(fire.due_at)
    return view if display is None else view | {"display": _local(fire.instant, display)}


def _local(instant: datetime, place: str) -> str:
    return instant.astimezone(zone(place)).isoformat(timespec="milliseconds")
