"""From a path and a method to an operation: one list, so that 405 knows every method of a path (criterion E11)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from countwheel.api.headers import complete
from countwheel.api.notes import note
from countwheel.api.parameters import canonical
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem, invalid_body, of_status
from countwheel.api.protocol import answer_at_once
from countwheel.api.recording import Doing, note_before, recorded
from countwheel.api.security import Caller, accepts_json, authenticate, authorize, target_of_attempt
from countwheel.api.source import is_secure
from countwheel.auth.principal import Principal
from countwheel.domain.errors import InvalidError
from countwheel.store.database import DatabaseUnavailableError, RefusedRowError

_log = structlog.get_logger(__name__)

_RETRY = {"Retry-After": "1"}
_REQUEST_ID_BYTES = 16

OpenHandler = Callable[[ApiParts, Request], Awaitable[Response]]
GuardedHandler = Callable[[ApiParts, Request, Principal], Awaitable[Response]]
SignedHandler = Callable[[ApiParts, Request, Caller], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Open:
    """An operation that anybody may call."""

    handler: OpenHandler


@dataclass(frozen=True, slots=True)
class Guarded:
    """An operation that needs the right to an action on a resource.

    `resource` is a path with the names of the path's parameters, or of a whole collection (`jobs/*`).
    """

    handler: GuardedHandler
    action: str
    resource: str
    shows: GuardedHandler | None = None
    """Shows the resource as it stands: how it was before a change is on record with the change."""


@dataclass(frozen=True, slots=True)
class Signed:
    """An operation that needs the right to an action, or the token of a signed URL."""

    handler: SignedHandler
    action: str
    resource: str


Operation = Open | Guarded | Signed


class Resource:
    """A path with its methods: an ASGI application that answers every method itself."""

    def __init__(self, api: ApiParts, operations: Mapping[str, Operation]) -> None:
        self._api = api
        self._operations = dict(operations)
        methods = set(operations) | ({"HEAD"} if "GET" in operations else set())
        self._allow = ", ".join(sorted(methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever fails becomes a problem document."""
        request = Request(scope, receive)
        response = await answered(self._api, request, self._answer)
        if not answer_at_once(send, response):
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        # The server leaves the body out of an answer to HEAD.
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            problem = of_status(405, f"this path has the methods {self._allow}")
            problem.headers["Allow"] = self._allow
            raise problem
        if isinstance(operation, Open):
            return await operation.handler(self._api, request)
        if isinstance(operation, Signed) and (target := target_of_attempt(self._api, request)) is not None:
            accepts_json(request)
            return await operation.handler(self._api, request, target)
        principal = await authenticate(self._api, request)
        doing = Doing(principal, operation.action, _resource(operation.resource, request))
        return await recorded(self._api, request, doing, lambda: self._obey(request, operation, doing))

    async def _obey(self, request: Request, operation: Guarded | Signed, doing: Doing) -> Response:
        authorize(doing.principal, doing.action, doing.resource)
        accepts_json(request)
        if isinstance(operation, Signed):
            return await operation.handler(self._api, request, Caller(doing.principal.tenant_id, None))
        if operation.shows is not None:
            await note_before(self._api, request, doing.principal, operation.shows)
        return await operation.handler(self._api, request, doing.principal)


def _resource(template: str, request: Request) -> str:
    """Return the resource that a request is about. An id is the same in every spelling that its path may have."""
    return template.format_map({name: canonical(str(value)) for name, value in request.path_params.items()})


class Dispatch:
    """The application: a path that has no parameters is looked up, any other one is matched route by route.

    Starlette asks 160 routes in turn, inside four wrappers of which none has anything to do here (`answered` catches
    whatever is raised): with 32 clients that was a fifth of what a create cost the server.
    """

    def __init__(self, literal: Mapping[str, Resource], others: ASGIApp) -> None:
        self._literal = literal
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        resource = self._literal.get(scope["path"])
        if resource is None:
            await self._others(scope, receive, send)
        else:
            scope["path_params"] = {}
            await resource(scope, receive, send)


def literals(found: Sequence[Route]) -> dict[str, Resource]:
    """Return the resources at paths without parameters."""
    return {
        route.path: route.endpoint for route in found if "{" not in route.path and isinstance(route.endpoint, Resource)
    }


def routes(api: ApiParts, table: Mapping[str, Mapping[str, Operation]]) -> list[Route]:
    """Return the routes of a table. A path that ends with a slash works without it too, with no redirect (E10)."""
    found = []
    for path, operations in table.items():
        resource = Resource(api, operations)
        for spelling in {path, path.rstrip("/") or "/"}:
            route = Route(spelling, endpoint=resource)
            route.methods = None  # the resource answers every method, 405 included
            found.append(route)
    return found


async def answered(api: ApiParts, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Return the answer, or the problem document of whatever was raised. The request id is in both."""
    request_id = new_request_id(api)
    note(request, "request_id", request_id)
    try:
        response = await answer(request)
    except Problem as problem:
        response = problem.answer(request_id)
    except InvalidError as error:
        response = invalid_body(error.faults).answer(request_id)
    except HTTPException as error:
        response = of_status(error.status_code, error.detail).answer(request_id)
    except DatabaseUnavailableError as error:
        _log.warning("database away", request_id=request_id, error=str(error))
        detail = "the database cannot be reached: send the request again"
        response = Problem(503, "unavailable", detail=detail, headers=_RETRY).answer(request_id)
    except RefusedRowError as error:
        _log.warning("row refused", request_id=request_id, error=str(error))
        response = Problem(400, "invalid-request", detail="the database refuses a value of this request").answer(
            request_id
        )
    except Exception:  # noqa: BLE001 (logged, and answered as the 500 that it is)
        _log.exception("request failed", request_id=request_id, method=request.method, path=request.url.path)
        detail = "the fault is ours; it is in the server's log under the id in `instance`"
        response = Problem(500, "internal-error", detail=detail).answer(request_id)
    complete(response.headers, request_id, secure=is_secure(request.scope, api.settings.trusted_proxies))
    return response


def new_request_id(api: ApiParts) -> str:
    """Return an id by which an answer and what the log says of it are found together."""
    return str(UUID(bytes=api.chance.token_bytes(_REQUEST_ID_BYTES), version=4))
