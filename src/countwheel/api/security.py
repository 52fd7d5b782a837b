"""Who calls, may they, and can they read our answer: asked before anything else (criteria E3, E4, E8, I8)."""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request

from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.auth.fetching import IssuerUnavailableError
from countwheel.auth.oauth import InvalidTokenError, bearer_token, challenge
from countwheel.auth.principal import Principal

_READABLE = frozenset({"application/json", "application/*", "*/*"})


async def authenticate(api: ApiParts, request: Request, scope: str) -> Principal:
    """Return who calls.

    Raises the 401 problem without a good token, the 403 problem without the scope, and the 503 problem where the
    token's issuer would have to be asked and cannot be.
    """
    values = request.headers.getlist("authorization")
    try:
        if len(values) > 1:
            raise InvalidTokenError("the Authorization header is given more than once")
        token = bearer_token(values[0] if values else None)
        if token is None:
            detail = "send Authorization: Bearer TOKEN; /oauth/token gives tokens"
            raise Problem(401, "unauthorized", detail=detail, headers={"WWW-Authenticate": challenge()})
        verified = await api.bearer.verify(token)
        principal = verified if isinstance(verified, Principal) else await api.admission.principal_of(verified)
    except IssuerUnavailableError as error:
        raise Problem(503, "issuer-unavailable", detail=str(error), headers={"Retry-After": "5"}) from error
    except InvalidTokenError as error:
        header = challenge(error="invalid_token", description=str(error))
        raise Problem(401, "unauthorized", detail=str(error), headers={"WWW-Authenticate": header}) from error
    if not principal.may(scope):
        detail = f"the token lacks the scope {scope}"
        header = challenge(error="insufficient_scope", description=detail, scope=scope)
        raise Problem(403, "forbidden", detail=detail, headers={"WWW-Authenticate": header})
    return principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who says something of a run: the target of one attempt, or a principal (`fence` is None)."""

    tenant_id: UUID
    fence: int | None


async def authenticate_caller(api: ApiParts, request: Request, scope: str) -> Caller:
    """Return who calls: by the token of a signed URL where one is given, else as `authenticate` does, which see."""
    token = Parameters(request, "token").text("token")
    if token is None:
        return Caller((await authenticate(api, request, scope)).tenant_id, None)
    try:
        job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
        named = api.callbacks.open(token, job_id, run_id, api.clock.now())
    except InvalidTokenError as error:
        header = challenge(error="invalid_token", description=str(error))
        raise Problem(401, "unauthorized", detail=str(error), headers={"WWW-Authenticate": header}) from error
    return Caller(named.tenant_id, named.fence)


def accepts_json(request: Request) -> None:
    """Raise the 406 problem where the Accept header excludes JSON (RFC 9110 §12.5.1)."""
    header = request.headers.get("accept")
    if header is None or header.strip() in {"", "*/*", "application/json"}:
        return
    best: dict[str, float] = {}
    for part in header.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type in _READABLE:
            best[media_type] = max(best.get(media_type, 0.0), _quality(parameters))
    # The most specific range decides: `application/json;q=0, */*` excludes JSON.
    for media_type in ("application/json", "application/*", "*/*"):
        if media_type in best:
            if best[media_type] > 0:
                return
            break
    raise Problem(406, "not-acceptable", detail="answers are application/json, which the Accept header excludes")


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
