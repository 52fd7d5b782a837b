"""`/v1/clients`: programs that ask our own token endpoint for tokens. A secret is shown once."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_name
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import only_once
from countwheel.api.views import timestamp
from countwheel.auth.clients import hash_secret, new_client_id, new_client_secret
from countwheel.auth.principal import Principal
from countwheel.store import clients
from countwheel.store.clients import ClientRow, ClientView

SHOWN_ONCE = {"Cache-Control": "no-store"}
"""The headers of an answer with a secret in it."""


async def list_clients(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/clients`: by id, those that are revoked, too."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await clients.read(connection, principal.tenant_id, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.client_id)


async def create_client(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/clients`: a client with these scopes, and its secret."""
    Parameters(request)
    body = api.contract.checked("NewClient", await read_json(request, api.settings.max_body_bytes))
    await only_once(api, request, principal)
    client_id, secret = new_client_id(api.chance), new_client_secret(api.chance)
    scopes = frozenset(body["scopes"])
    async with api.database.connection() as connection:
        client = ClientRow(client_id, principal.tenant_id, hash_secret(secret), scopes, body["name"])
        await clients.create(connection, client)
    view = await _read(api, principal, client_id)
    return json_answer(view | {"client_secret": secret}, 201, SHOWN_ONCE | {"Location": f"/v1/clients/{client_id}"})


async def read_client(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/clients/{clientId}`: everything but its secret, which nobody knows."""
    Parameters(request)
    return json_answer(await _read(api, principal, _client_id(api, request)), 200)


async def rotate_client(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/clients/{clientId}/rotate`: another secret; the one so far gives no token from now on."""
    Parameters(request)
    await only_once(api, request, principal)
    client_id, secret = _client_id(api, request), new_client_secret(api.chance)
    async with api.database.connection() as connection:
        if not await clients.rotate(connection, principal.tenant_id, client_id, hash_secret(secret)):
            raise not_found("client")
    return json_answer(await _read(api, principal, client_id) | {"client_secret": secret}, 200, SHOWN_ONCE)


async def revoke_client(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/clients/{clientId}`: for good. Tokens that it has open nothing within five seconds."""
    Parameters(request)
    client_id = _client_id(api, request)
    if principal.name == f"clients/{client_id}":
        raise Problem(409, "conflict", detail="this is who asks: revoke it with another client, lest nobody is left")
    async with api.database.connection() as connection:
        if not await clients.revoke(connection, principal.tenant_id, client_id):
            raise not_found("client")
    return Response(status_code=204)


async def _read(api: ApiParts, principal: Principal, client_id: str) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await clients.read(connection, principal.tenant_id, client_id=client_id)
    if not rows:
        raise not_found("client")
    return _view(rows[0])


def _view(row: ClientView) -> dict[str, Any]:
    return {
        "client_id": row.client_id,
        "name": row.name,
        "scopes": sorted(row.scopes),
        "policies": row.policies,
        "created_at": timestamp(row.created_at),
        "revoked_at": timestamp(row.revoked_at),
    }


def _client_id(api: ApiParts, request: Request) -> str:
    return path_name(request, api.contract, "ClientId", of="clientId")
