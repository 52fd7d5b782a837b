"""`/v1/policies`: who may do what. And the question beforehand: would this be allowed, and by which statement?"""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, instant_at, path_name
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.views import timestamp
from countwheel.auth.actions import ACTIONS
from countwheel.auth.conditions import Context
from countwheel.auth.policy import Decision, Policy, Question, decide
from countwheel.auth.policy_document import read_policy
from countwheel.auth.principal import Principal
from countwheel.auth.rights import policies_of_scopes, read_stored
from countwheel.domain.errors import Fault, InvalidError
from countwheel.store import clients, policies
from countwheel.store.policies import MOST_ATTACHED, PolicyRow

_CLIENT = "clients/"


async def list_policies(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/policies`: by name."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await policies.read(connection, principal.tenant_id, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.name)


async def read_policy_of_name(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/policies/{name}`: the document, and whom it is attached to."""
    Parameters(request)
    return json_answer(await _read(api, principal, _name(api, request)), 200)


async def put_policy(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PUT /v1/policies/{name}`: make it, or give it another document; it counts within five seconds."""
    Parameters(request)
    name = _name(api, request)
    document = _document(api, await read_json(request, api.settings.max_body_bytes))
    _checked(name, document, "#/document")
    async with api.database.connection() as connection:
        created = await policies.put(connection, principal.tenant_id, name, json.dumps(document, ensure_ascii=False))
    location = {"Location": f"/v1/policies/{name}"} if created else {}
    return json_answer(await _read(api, principal, name), 201 if created else 200, location)


async def delete_policy(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/policies/{name}`: refused as long as it is attached to somebody."""
    Parameters(request)
    name = _name(api, request)
    async with api.database.connection() as connection:
        if not await policies.delete(connection, principal.tenant_id, name):
            if await policies.read(connection, principal.tenant_id, name=name):
                raise Problem(409, "conflict", detail="it is attached: detach it from everybody first")
            raise not_found("policy")
    return Response(status_code=204)


async def attach_policy(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/policies/{name}/attach`: make it a part of the rights of a client or a principal."""
    name, holder = await _attachment(api, request)
    async with api.database.connection() as connection:
        if not await policies.read(connection, principal.tenant_id, name=name):
            raise not_found("policy")
        if not await policies.is_holder(connection, principal.tenant_id, holder):
            raise not_found("client or principal")
        if not await policies.attach(connection, principal.tenant_id, holder, name):
            detail = f"it has {MOST_ATTACHED} policies: detach one, or make one policy of several"
            raise Problem(409, "conflict", detail=detail)
    return json_answer(await _read(api, principal, name), 200)


async def detach_policy(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/policies/{name}/detach`: take it out of somebody's rights; safe to repeat."""
    name, holder = await _attachment(api, request)
    async with api.database.connection() as connection:
        await policies.detach(connection, principal.tenant_id, holder, name)
    return json_answer(await _read(api, principal, name), 200)


async def simulate_policies(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/policies:simulate`: may somebody do this, and which statement says so? Changes nothing."""
    Parameters(request)
    body = api.contract.checked("PolicySimulation", await read_json(request, api.settings.max_body_bytes))
    holder = str(body.get("holder", ""))
    held = policies_of_scopes(frozenset(body.get("scopes", ())))
    if holder:
        held += await _held_by(api, principal, holder, body)
    held += tuple(
        _checked(f"policies/{index}", document, f"#/policies/{index}")
        for index, document in enumerate(body.get("policies", []))
    )
    question = Question(body["action"], body["resource"], _context(principal, holder, body.get("context", {})))
    return json_answer(_decision(decide(held, question)), 200)


async def _held_by(api: ApiParts, principal: Principal, holder: str, body: Mapping[str, Any]) -> tuple[Policy, ...]:
    """Return the rights of somebody. A client has its scopes, unless some of them are asked about."""
    async with api.database.connection() as connection:
        if not await policies.is_holder(connection, principal.tenant_id, holder):
            raise not_found("client or principal")
        attached = read_stored(await policies.of_holder(connection, principal.tenant_id, holder))
        if not holder.startswith(_CLIENT) or "scopes" in body:
            return attached
        (client,) = await clients.read(connection, principal.tenant_id, client_id=holder.removeprefix(_CLIENT))
    return policies_of_scopes(frozenset(client.scopes)) + attached


def _context(principal: Principal, holder: str, said: Mapping[str, Any]) -> Context:
    context = replace(principal.context, principal_id=holder or principal.name)
    if "source_ip" in said:
        try:
            context = replace(context, source_ip=ip_address(said["source_ip"]))
        except ValueError as error:
            raise InvalidError([Fault("#/context/source_ip", "not an IP address")]) from error
    if "current_time" in said:
        context = replace(context, now=instant_at(said["current_time"], "#/context/current_time"))
    return context


def _decision(decision: Decision) -> dict[str, Any]:
    by = decision.by
    return {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "by": None if by is None else {"policy": by.policy, "statement": by.index, "sid": by.sid, "effect": by.effect},
    }


def _document(api: ApiParts, body: object) -> object:
    """Return the document in a body. What is wrong inside it is better said by whoever reads it than by the schema."""
    faults = [fault for fault in api.contract.faults("NewPolicy", body) if not fault.pointer.startswith("#/document")]
    if faults or not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    return body.get("document")


def _checked(name: str, document: object, pointer: str) -> Policy:
    """Return a document read. Raises `InvalidError` with every fault, each where it is in the body."""
    try:
        return read_policy(name, document, ACTIONS.keys())
    except InvalidError as error:
        raise InvalidError(
            [Fault(pointer + fault.pointer.removeprefix("#"), fault.detail) for fault in error.faults]
        ) from error


async def _attachment(api: ApiParts, request: Request) -> tuple[str, str]:
    Parameters(request)
    name = _name(api, request)
    body = api.contract.checked("PolicyHolder", await read_json(request, api.settings.max_body_bytes))
    return name, body["holder"]


async def _read(api: ApiParts, principal: Principal, name: str) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await policies.read(connection, principal.tenant_id, name=name)
    if not rows:
        raise not_found("policy")
    return _view(rows[0])


def _view(row: PolicyRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "document": json.loads(row.document),
        "version": row.version,
        "holders": row.holders,
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
    }


def _name(api: ApiParts, request: Request) -> str:
    return path_name(request, api.contract, "PolicyName")
