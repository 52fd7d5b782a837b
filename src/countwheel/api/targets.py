"""`/v1/targets`: how fast targets are called, which of them are unwell, and what waits for them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json, read_optional_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_name
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.store import targets
from countwheel.store.targets import COUNTED_UP_TO, Limits, TargetView

_IN_FORCE_WITHIN_SECONDS = 0.5
"""A node looks twice in that time."""


async def list_targets(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/targets`: by name, those that are limited, unwell, or waited for."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await targets.read(connection, principal.tenant_id, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.name)


async def read_target(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/targets/{name}`."""
    Parameters(request)
    return json_answer(await _read(api, principal, _name(api, request)), 200)


async def put_target(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PUT /v1/targets/{name}`: limit it as the body says, and in no other way; safe to repeat."""
    Parameters(request)
    name = _name(api, request)
    body = api.contract.checked("TargetLimits", await read_json(request, api.settings.max_body_bytes))
    limits = Limits(
        max_concurrency=_whole(body.get("max_concurrency")),
        rate_per_second=body.get("rate_per_second"),
        burst=_whole(body.get("burst")),
        breaker=body.get("breaker"),
    )
    async with api.database.connection() as connection:
        created = await targets.put_limits(connection, principal.tenant_id, name, limits)
    if created is None:
        raise _too_many()
    location = {"Location": f"/v1/targets/{name}"} if created else {}
    return json_answer(await _changed(api, principal, name), 201 if created else 200, location)


async def delete_target(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/targets/{name}`: take its limits away. What waits for it goes on."""
    Parameters(request)
    name = _name(api, request)
    async with api.database.connection() as connection:
        if not await targets.take_limits(connection, principal.tenant_id, name):
            raise not_found("limited target")
    return Response(status_code=204)


async def pause_target(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/targets/{name}/pause`: no call to it begins, until it is resumed."""
    Parameters(request)
    name = _name(api, request)
    body = api.contract.checked("Pause", await read_optional_json(request, api.settings.max_body_bytes))
    async with api.database.connection() as connection:
        if not await targets.pause(connection, principal.tenant_id, name, body.get("reason")):
            raise _too_many()
    return json_answer(await _changed(api, principal, name), 200)


async def resume_target(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/targets/{name}/resume`: it is well, whatever was held against it; its limits stay."""
    Parameters(request)
    name = _name(api, request)
    async with api.database.connection() as connection:
        if not await targets.resume(connection, principal.tenant_id, name):
            raise not_found("target")
    return json_answer(await _changed(api, principal, name), 200)


def _too_many() -> Problem:
    detail = (
        f"{targets.MOST_OF_A_TENANT} targets are limited or paused: delete the limits of others first, or resume them"
    )
    return Problem(409, "conflict", detail=detail)


async def _changed(api: ApiParts, principal: Principal, name: str) -> dict[str, Any]:
    return await _read(api, principal, name) | {"in_force_within_seconds": _IN_FORCE_WITHIN_SECONDS}


async def _read(api: ApiParts, principal: Principal, name: str) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await targets.read(connection, principal.tenant_id, name=name)
    if not rows:
        raise not_found("target")
    return _view(rows[0])


def _view(target: TargetView) -> dict[str, Any]:
    pace = target.pace
    view: dict[str, Any] = {
        "name": target.name,
        "state": pace.state(target.now),
        "max_concurrency": pace.max_concurrency,
        "rate_per_second": pace.rate_per_second,
        "burst": pace.burst,
        "breaker": "off" if pace.breaker_is_off else "on",
        "backlog": target.backlog,
        "backlog_is_more": target.backlog >= COUNTED_UP_TO,
        "in_flight": target.in_flight,
    }
    if pace.paused:
        view |= {"paused_at": timestamp(target.paused_at), "pause_reason": target.pause_reason}
    breaker = pace.breaker
    if breaker.open_until is not None and not pace.breaker_is_off:
        view["open"] = {
            "since": timestamp(breaker.opened_at),
            "until": timestamp(breaker.open_until),
            "reason": breaker.reason,
        }
    if pace.slowed is not None and not pace.slowed.is_over(target.now):
        view["slowed"] = {
            "rate_per_second": round(pace.slowed.rate_at(target.now), 3),
            "held_until": timestamp(pace.slowed.at) if target.now < pace.slowed.at else None,
        }
    return view


def _name(api: ApiParts, request: Request) -> str:
    return path_name(request, api.contract, "TargetName")


def _whole(number: float | None) -> int | None:
    """Return a whole number that JSON may have written as `3.0`."""
    return None if number is None else int(number)
