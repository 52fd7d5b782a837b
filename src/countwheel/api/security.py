"""Who calls, may they, and can they read our answer: asked before anything else (criteria E3, E4, E8, I8).

A caller shows a bearer token, or signs the request with an access key. What either is worth is looked up again every
few seconds (`auth/rights.py`).
"""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request

from countwheel.api.body import keep_body
from countwheel.api.notes import note
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem, invalid_parameter
from countwheel.api.source import source_ip
from countwheel.auth import sigv4
from countwheel.auth.actions import ACTIONS
from countwheel.auth.bootstrap import DEFAULT_TENANT
from countwheel.auth.canonical import ambiguity
from countwheel.auth.conditions import Context
from countwheel.auth.federation import ExternalIdentity
from countwheel.auth.fetching import IssuerUnavailableError
from countwheel.auth.oauth import InvalidTokenError, bearer_token, challenge
from countwheel.auth.principal import Principal
from countwheel.auth.rights import Grant, denials, policies_of_scopes
from countwheel.auth.sigv4 import AmbiguousPathError, SignatureError, WireRequest
from countwheel.store.rights import TenantState

_READABLE = frozenset({"application/json", "application/*", "*/*"})


async def authenticate(api: ApiParts, request: Request) -> Principal:
    """Return who calls.

    Raises the 401 problem without credentials that open something (criterion E3), and the 503 problem where a token's
    issuer would have to be asked and cannot be.
    """
    values = request.headers.getlist("authorization")
    try:
        if len(values) > 1:
            raise InvalidTokenError("the Authorization header is given more than once")
        if values and sigv4.is_signed(values[0]):
            return await _of_signature(api, request)
        token = bearer_token(values[0] if values else None)
        if token is None:
            detail = "send Authorization: Bearer TOKEN (/oauth/token gives tokens), or sign the request"
            raise Problem(401, "unauthorized", detail=detail, headers={"WWW-Authenticate": challenge()})
        return await _of_token(api, request, token)
    except AmbiguousPathError as error:
        raise invalid_parameter("path", str(error)) from error
    except IssuerUnavailableError as error:
        raise Problem(503, "issuer-unavailable", detail=str(error), headers={"Retry-After": "5"}) from error
    except (InvalidTokenError, SignatureError) as error:
        header = challenge(error="invalid_token", description=str(error))
        raise Problem(401, "unauthorized", detail=str(error), headers={"WWW-Authenticate": header}) from error


def authorize(principal: Principal, action: str, resource: str) -> None:
    """Raise the 403 problem unless a principal may do this."""
    if principal.may(action, resource):
        return
    scope = ACTIONS[action]
    detail = f"{action} on {resource} is not allowed: it takes the scope {scope}, or a policy, and no policy against it"
    header = challenge(error="insufficient_scope", description=detail, scope=scope)
    raise Problem(403, "forbidden", detail=detail, headers={"WWW-Authenticate": header})


def refuse_two_readings(request: Request) -> None:
    """Raise the 400 problem for a signed request whose path some read in another way (criterion A2)."""
    values = request.headers.getlist("authorization")
    if values and sigv4.is_signed(values[0]) and (why := ambiguity(request.scope["raw_path"])) is not None:
        raise invalid_parameter("path", f"has {why}, which some read in another way: sign and send a plain one")


async def _of_token(api: ApiParts, request: Request, token: str) -> Principal:
    subject = await api.bearer.verify(token)
    if isinstance(subject, ExternalIdentity):
        return await _of_identity(api, request, subject)
    grant = await api.rights.of_client(subject.client_id)
    if grant is None or grant.tenant_id != subject.tenant_id:
        raise InvalidTokenError("the token's client is revoked")
    _refuse_the_suspended(grant)
    # A token that was asked for with a scope of its own is narrowed to it: only what is denied goes with it.
    attached = grant.policies if subject.with_policies else denials(grant.policies)
    name = f"clients/{subject.client_id}"
    policies = policies_of_scopes(subject.scopes) + attached
    return Principal(grant.tenant_id, name, policies, _context(api, request, name), subject.token_id)


async def _of_identity(api: ApiParts, request: Request, identity: ExternalIdentity) -> Principal:
    """Return who comes with a token of a trusted issuer: a registered principal, or what the token's claims are worth.

    The tenant is what the claims say, or the operators'. What others have registered counts for nothing: or a tenant
    could have another one's subjects work for it.
    """
    tenant = await api.rights.of_tenant(identity.tenant or DEFAULT_TENANT)
    if tenant is None:
        raise InvalidTokenError("the token is good, but no tenant here is its tenant: ask the operator")
    _refuse_the_suspended(tenant)
    named = identity.issuer, identity.subject, identity.audience
    grant = await api.rights.of_identity(tenant.tenant_id, *named)
    if grant is not None:
        name = f"principals/{grant.principal_id}"
        return Principal(tenant.tenant_id, name, grant.policies, _context(api, request, name), None)
    if identity.tenant is None:
        raise InvalidTokenError("the token is good, but names no tenant, and its subject is no principal here")
    name = f"issuers/{identity.issuer}#{identity.subject}"
    policies = policies_of_scopes(identity.scopes)
    return Principal(tenant.tenant_id, name, policies, _context(api, request, name), None)


async def _of_signature(api: ApiParts, request: Request) -> Principal:
    claim = sigv4.read_claim(request.headers.raw, api.clock.now())
    found = await api.rights.of_access_key(claim.access_key_id)
    wire = WireRequest(
        request.method,
        request.scope["raw_path"],
        request.scope["query_string"],
        request.headers.raw,
        await keep_body(request, api.settings.max_body_bytes),
    )
    # Without a secret it takes as long, and ends as with a wrong one (criterion A5).
    sigv4.check(wire, claim, None if found is None else found.secret)
    if found is None:
        raise AssertionError("a signature without a key was taken for good")
    await api.rights.note_use(claim.access_key_id)
    _refuse_the_suspended(found.grant)
    note(request, "signature", claim.signature)
    name = f"principals/{found.grant.principal_id}"
    context = _context(api, request, name)
    return Principal(found.grant.tenant_id, name, found.grant.policies, context, claim.access_key_id)


def _refuse_the_suspended(holder: Grant | TenantState) -> None:
    if holder.is_suspended:
        raise Problem(403, "tenant-suspended", detail="this tenant is suspended: ask whoever operates this server")


def _context(api: ApiParts, request: Request, name: str) -> Context:
    return Context(
        now=api.clock.now(), source_ip=source_ip(request.scope, api.settings.trusted_proxies), principal_id=name
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who says something of a run: the target of one attempt, or a principal (`fence` is None)."""

    tenant_id: UUID
    fence: int | None


def target_of_attempt(api: ApiParts, request: Request) -> Caller | None:
    """Return the target that the token of a signed URL stands for; None where there is no token.

    Raises the 401 problem for one that opens nothing here.
    """
    token = Parameters(request, "token").text("token")
    if token is None:
        return None
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
