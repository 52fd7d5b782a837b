"""`/v1/tenants`: who shares this deployment, and what each may use. The operators' tenant administers the others."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json, read_optional_json
from countwheel.api.clients import SHOWN_ONCE
from countwheel.api.jobs import not_found
from countwheel.api.operators import only_operators, operates
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import only_once
from countwheel.api.views import timestamp
from countwheel.auth import bootstrap
from countwheel.auth.principal import Principal
from countwheel.store import tenants
from countwheel.store.tenants import Quotas, TenantRow

_QUOTAS = tuple(entry.name for entry in fields(Quotas))


async def list_tenants(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/tenants`: latest first; for those who are no operators, their own alone."""
    page = Parameters(request, "page_size", "page_token").page()
    own = None if await operates(api, principal) else principal.tenant_id
    async with api.database.connection() as connection:
        rows = await tenants.read(connection, tenant_id=own, before=page.before, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.tenant_id)


async def create_tenant(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/tenants`: a tenant, and its first administrator, whose secret is shown once."""
    Parameters(request)
    await only_operators(api, principal)
    body = api.contract.checked("NewTenant", await read_json(request, api.settings.max_body_bytes))
    await only_once(api, request, principal)
    async with api.database.transaction() as connection:
        made = await bootstrap.create_tenant(connection, api.sealer, api.chance, api.clock.now(), name=body["name"])
        if made is None:
            raise Problem(409, "conflict", detail="there is a tenant of this name: choose another one")
        tenant_id, (client_id, secret) = made
        await tenants.set_quotas(connection, tenant_id, _quotas(body, Quotas()))
    view = await _read(api, tenant_id) | {"admin": {"client_id": client_id, "client_secret": secret}}
    return json_answer(view, 201, SHOWN_ONCE | {"Location": f"/v1/tenants/{tenant_id}"})


async def read_tenant(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/tenants/{tenantId}`: one's own, or, for operators, any."""
    Parameters(request)
    tenant_id = path_uuid(request, "tenantId")
    if tenant_id != principal.tenant_id and not await operates(api, principal):
        raise not_found("tenant")
    return json_answer(await _read(api, tenant_id), 200)


async def amend_tenant(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PATCH /v1/tenants/{tenantId}`: what it may use (RFC 7396: what is left out stays, null is without limit)."""
    Parameters(request)
    await only_operators(api, principal)
    tenant_id = path_uuid(request, "tenantId")
    body = api.contract.checked("TenantPatch", await read_json(request, api.settings.max_body_bytes))
    async with api.database.transaction() as connection:
        rows = await tenants.read(connection, tenant_id=tenant_id)
        if not rows:
            raise not_found("tenant")
        await tenants.set_quotas(connection, tenant_id, _quotas(body, rows[0].quotas))
    return json_answer(await _read(api, tenant_id), 200)


async def suspend_tenant(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/tenants/{tenantId}/suspend`: nobody of it is let in, its occurrences are skipped with the reason."""
    Parameters(request)
    await only_operators(api, principal)
    tenant_id = path_uuid(request, "tenantId")
    body = api.contract.checked("Pause", await read_optional_json(request, api.settings.max_body_bytes))
    if tenant_id == principal.tenant_id:
        raise Problem(409, "conflict", detail="this is the operators' own tenant: nobody could resume it")
    async with api.database.connection() as connection:
        if not await tenants.suspend(connection, tenant_id, body.get("reason")):
            raise not_found("tenant")
    return json_answer(await _read(api, tenant_id), 200)


async def resume_tenant(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/tenants/{tenantId}/resume`: let it go on from now."""
    Parameters(request)
    await only_operators(api, principal)
    tenant_id = path_uuid(request, "tenantId")
    async with api.database.connection() as connection:
        if not await tenants.resume(connection, tenant_id):
            raise not_found("tenant")
    return json_answer(await _read(api, tenant_id), 200)


def _quotas(body: Mapping[str, Any], so_far: Quotas) -> Quotas:
    said = {name: body.get(name, getattr(so_far, name)) for name in _QUOTAS}
    whole = {name: None if said[name] is None else int(said[name]) for name in ("max_jobs", "max_payload_bytes")}
    return Quotas(**(said | whole))


async def _read(api: ApiParts, tenant_id: UUID) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await tenants.read(connection, tenant_id=tenant_id)
    if not rows:
        raise not_found("tenant")
    return _view(rows[0])


def _view(row: TenantRow) -> dict[str, Any]:
    return {
        "tenant_id": str(row.tenant_id),
        "name": row.name,
        "status": "ACTIVE" if row.suspended_at is None else "SUSPENDED",
        "created_at": timestamp(row.created_at),
        "suspended_at": timestamp(row.suspended_at),
        "suspend_reason": row.suspend_reason,
    } | {name: getattr(row, name) for name in _QUOTAS}
