"""The application: every path with its operations."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from countwheel.api import (
    access_keys,
    audit,
    audit_log,
    backfills,
    bulk,
    calendars,
    clients,
    completion,
    docs_page,
    failures,
    forecast,
    health,
    job_changes,
    job_put,
    jobs,
    manual_runs,
    nodes,
    notifications,
    policies,
    principals,
    redrive,
    run_listing,
    runs,
    schedules,
    secrets,
    signing_secrets,
    targets,
    tenants,
    tokens,
    unknown_runs,
    versions,
)
from countwheel.api.cors import Cors
from countwheel.api.echo import Echo
from countwheel.api.parts import ApiParts
from countwheel.api.routing import (
    Dispatch,
    Guarded,
    Open,
    Operation,
    Signed,
    answered,
    literals,
    new_request_id,
    routes,
)
from countwheel.api.security import refuse_two_readings

# Resources: of a path with its parameters, or of a whole collection.
_CALENDARS = "calendars/*"
_CALENDAR = "calendars/{name}"
_CLIENTS = "clients/*"
_CLIENT = "clients/{clientId}"
_JOBS = "jobs/*"
_RUNS = "jobs/*/run/*"
_JOB = "jobs/{jobId}"
_RUNS_OF_JOB = "jobs/{jobId}/run/*"
_RUN = "jobs/{jobId}/run/{runId}"
_NOTIFICATIONS = "notifications/*"
_POLICIES = "policies/*"
_POLICY = "policies/{name}"
_PRINCIPALS = "principals/*"
_PRINCIPAL = "principals/{principalId}"
_ACCESS_KEYS = "principals/{principalId}/access-keys/*"
_ACCESS_KEY = "principals/{principalId}/access-keys/{accessKeyId}"
_SCHEDULES = "schedules/*"
_SECRETS = "secrets/*"
_SECRET = "secrets/{name}"  # noqa: S105 (a resource)
_SIGNING_SECRETS = "signing-secrets/*"
_TARGETS = "targets/*"
_TARGET = "targets/{name}"
_TENANTS = "tenants/*"
_TENANT = "tenants/{tenantId}"

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/v1/jobs": {
        "GET": Guarded(jobs.list_jobs, "jobs:List", _JOBS),
        "POST": Guarded(jobs.create_job, "jobs:Create", _JOBS),
    },
    "/v1/jobs:pause": {"POST": Guarded(bulk.pause_jobs, "jobs:Pause", _JOBS)},
    "/v1/jobs:resume": {"POST": Guarded(bulk.resume_jobs, "jobs:Resume", _JOBS)},
    "/v1/jobs:delete": {"POST": Guarded(bulk.delete_jobs, "jobs:Delete", _JOBS)},
    "/v1/jobs:run": {"POST": Guarded(bulk.run_jobs, "runs:Create", _RUNS)},
    "/v1/jobs/{jobId}": {
        "GET": Guarded(jobs.read_job, "jobs:Read", _JOB),
        "PUT": Guarded(job_put.put_job, "jobs:Put", _JOB, jobs.read_job),
        "PATCH": Guarded(job_changes.amend_job, "jobs:Update", _JOB, jobs.read_job),
        "DELETE": Guarded(jobs.delete_job, "jobs:Delete", _JOB, jobs.read_job),
    },
    "/v1/jobs/{jobId}/pause": {"POST": Guarded(job_changes.pause_job, "jobs:Pause", _JOB, jobs.read_job)},
    "/v1/jobs/{jobId}/resume": {"POST": Guarded(job_changes.resume_job, "jobs:Resume", _JOB, jobs.read_job)},
    "/v1/jobs/{jobId}/versions": {"GET": Guarded(versions.list_versions, "jobs:ListVersions", _JOB)},
    "/v1/jobs/{jobId}/backfill": {"POST": Guarded(backfills.backfill_job, "jobs:Backfill", _JOB)},
    "/v1/jobs/{jobId}/audit": {"GET": Guarded(audit.audit_job, "jobs:Audit", _JOB)},
    "/v1/jobs/{jobId}/run/": {
        "GET": Guarded(runs.list_runs, "runs:List", _RUNS_OF_JOB),
        "POST": Guarded(manual_runs.run_job, "runs:Create", _RUNS_OF_JOB),
    },
    "/v1/jobs/{jobId}/run/{runId}/": {
        "GET": Guarded(runs.read_run, "runs:Read", _RUN),
        "DELETE": Guarded(runs.delete_run, "runs:Cancel", _RUN, runs.read_run),
    },
    "/v1/jobs/{jobId}/run/{runId}/retry": {"POST": Guarded(unknown_runs.retry_run, "runs:Retry", _RUN, runs.read_run)},
    "/v1/jobs/{jobId}/run/{runId}/resolve": {
        "POST": Guarded(unknown_runs.resolve_run, "runs:Resolve", _RUN, runs.read_run)
    },
    "/v1/jobs/{jobId}/run/{runId}/complete": {"POST": Signed(completion.complete_run, "runs:Complete", _RUN)},
    "/v1/jobs/{jobId}/run/{runId}/heartbeat": {"POST": Signed(completion.take_heartbeat, "runs:Heartbeat", _RUN)},
    "/v1/jobs/{jobId}/run/{runId}/redrive": {"POST": Guarded(redrive.redrive_run, "runs:Redrive", _RUN, runs.read_run)},
    "/v1/runs": {"GET": Guarded(run_listing.list_all_runs, "runs:List", _RUNS)},
    "/v1/runs:redrive": {"POST": Guarded(redrive.redrive_runs, "runs:Redrive", _RUNS)},
    "/v1/failures": {"GET": Guarded(failures.list_failures, "failures:List", "failures/*")},
    "/v1/notifications": {
        "GET": Guarded(notifications.read_notifications, "notifications:Read", _NOTIFICATIONS),
        "PUT": Guarded(
            notifications.put_notifications, "notifications:Put", _NOTIFICATIONS, notifications.read_notifications
        ),
    },
    "/v1/calendars": {"GET": Guarded(calendars.list_calendars, "calendars:List", _CALENDARS)},
    "/v1/calendars/{name}": {
        "GET": Guarded(calendars.read_calendar, "calendars:Read", _CALENDAR),
        "PUT": Guarded(calendars.put_calendar, "calendars:Put", _CALENDAR, calendars.read_calendar),
        "DELETE": Guarded(calendars.delete_calendar, "calendars:Delete", _CALENDAR, calendars.read_calendar),
    },
    "/v1/secrets": {"GET": Guarded(secrets.list_secrets, "secrets:List", _SECRETS)},
    "/v1/secrets/{name}": {
        "GET": Guarded(secrets.read_secret, "secrets:Read", _SECRET),
        "PUT": Guarded(secrets.put_secret, "secrets:Put", _SECRET, secrets.read_secret),
        "DELETE": Guarded(secrets.delete_secret, "secrets:Delete", _SECRET, secrets.read_secret),
    },
    "/v1/signing-secrets": {
        "GET": Guarded(signing_secrets.list_signing_secrets, "signing-secrets:List", _SIGNING_SECRETS)
    },
    "/v1/signing-secrets:rotate": {
        "POST": Guarded(signing_secrets.rotate_signing_secret, "signing-secrets:Rotate", _SIGNING_SECRETS)
    },
    "/v1/tenants/{tenantId}/signing-keys": {"GET": Open(signing_secrets.list_public_keys)},
    "/v1/targets": {"GET": Guarded(targets.list_targets, "targets:List", _TARGETS)},
    "/v1/targets/{name}": {
        "GET": Guarded(targets.read_target, "targets:Read", _TARGET),
        "PUT": Guarded(targets.put_target, "targets:Put", _TARGET, targets.read_target),
        "DELETE": Guarded(targets.delete_target, "targets:Delete", _TARGET, targets.read_target),
    },
    "/v1/targets/{name}/pause": {"POST": Guarded(targets.pause_target, "targets:Pause", _TARGET, targets.read_target)},
    "/v1/targets/{name}/resume": {
        "POST": Guarded(targets.resume_target, "targets:Resume", _TARGET, targets.read_target)
    },
    "/v1/schedules:preview": {"POST": Guarded(schedules.preview_schedule, "schedules:Preview", _SCHEDULES)},
    "/v1/schedules:simulate": {"POST": Guarded(schedules.simulate_schedule, "schedules:Simulate", _SCHEDULES)},
    "/v1/forecast": {"GET": Guarded(forecast.read_forecast, "forecast:Read", "forecast/*")},
    "/v1/nodes": {"GET": Guarded(nodes.list_nodes, "nodes:List", "nodes/*")},
    "/v1/clients": {
        "GET": Guarded(clients.list_clients, "clients:List", _CLIENTS),
        "POST": Guarded(clients.create_client, "clients:Create", _CLIENTS),
    },
    "/v1/clients/{clientId}": {
        "GET": Guarded(clients.read_client, "clients:Read", _CLIENT),
        "DELETE": Guarded(clients.revoke_client, "clients:Revoke", _CLIENT, clients.read_client),
    },
    "/v1/clients/{clientId}/rotate": {
        "POST": Guarded(clients.rotate_client, "clients:Rotate", _CLIENT),
    },
    "/v1/principals": {
        "GET": Guarded(principals.list_principals, "principals:List", _PRINCIPALS),
        "POST": Guarded(principals.create_principal, "principals:Create", _PRINCIPALS),
    },
    "/v1/principals/{principalId}": {
        "GET": Guarded(principals.read_principal, "principals:Read", _PRINCIPAL),
        "DELETE": Guarded(principals.delete_principal, "principals:Delete", _PRINCIPAL, principals.read_principal),
    },
    "/v1/principals/{principalId}/access-keys": {
        "GET": Guarded(access_keys.list_access_keys, "access-keys:List", _ACCESS_KEYS),
        "POST": Guarded(access_keys.create_access_key, "access-keys:Create", _ACCESS_KEYS),
    },
    "/v1/principals/{principalId}/access-keys/{accessKeyId}": {
        "DELETE": Guarded(
            access_keys.revoke_access_key,
            "access-keys:Revoke",
            _ACCESS_KEY,
        ),
    },
    "/v1/policies": {"GET": Guarded(policies.list_policies, "policies:List", _POLICIES)},
    "/v1/policies:simulate": {"POST": Guarded(policies.simulate_policies, "policies:Simulate", _POLICIES)},
    "/v1/policies/{name}": {
        "GET": Guarded(policies.read_policy_of_name, "policies:Read", _POLICY),
        "PUT": Guarded(policies.put_policy, "policies:Put", _POLICY, policies.read_policy_of_name),
        "DELETE": Guarded(policies.delete_policy, "policies:Delete", _POLICY, policies.read_policy_of_name),
    },
    "/v1/policies/{name}/attach": {
        "POST": Guarded(policies.attach_policy, "policies:Attach", _POLICY, policies.read_policy_of_name),
    },
    "/v1/policies/{name}/detach": {
        "POST": Guarded(policies.detach_policy, "policies:Detach", _POLICY, policies.read_policy_of_name),
    },
    "/v1/tenants": {
        "GET": Guarded(tenants.list_tenants, "tenants:List", _TENANTS),
        "POST": Guarded(tenants.create_tenant, "tenants:Create", _TENANTS),
    },
    "/v1/tenants/{tenantId}": {
        "GET": Guarded(tenants.read_tenant, "tenants:Read", _TENANT),
        "PATCH": Guarded(tenants.amend_tenant, "tenants:Update", _TENANT, tenants.read_tenant),
    },
    "/v1/tenants/{tenantId}/suspend": {
        "POST": Guarded(tenants.suspend_tenant, "tenants:Suspend", _TENANT, tenants.read_tenant),
    },
    "/v1/tenants/{tenantId}/resume": {
        "POST": Guarded(tenants.resume_tenant, "tenants:Resume", _TENANT, tenants.read_tenant),
    },
    "/v1/audit-log": {"GET": Guarded(audit_log.list_entries, "audit-log:List", "audit-log/*")},
    "/oauth/token": {"POST": Open(tokens.issue_token)},
    "/oauth/jwks.json": {"GET": Open(tokens.read_keys)},
    "/.well-known/oauth-authorization-server": {"GET": Open(tokens.read_issuer)},
    "/.well-known/openid-configuration": {"GET": Open(tokens.read_provider)},
    "/livez": {"GET": Open(health.is_alive)},
    "/readyz": {"GET": Open(health.is_ready)},
    "/openapi.json": {"GET": Open(docs_page.show_contract)},
    "/docs": {"GET": Open(docs_page.show_docs)},
    "/docs/assets/{name}": {"GET": Open(docs_page.show_asset)},
    "/docs/problems/{kind}": {"GET": Open(docs_page.show_problem)},
}
"""The API: path, method, handler, and the action on a resource that it takes."""


HEALTH = ("/livez", "/readyz")
"""What a node without the role `api` answers all the same: whoever runs it must be able to ask."""


def build_app(api: ApiParts, *, health_only: bool = False) -> ASGIApp:
    """Return the ASGI application. In development it has its own receiver under /dev/echo."""
    table = {path: operations for path, operations in OPERATIONS.items() if path in HEALTH or not health_only}
    if api.settings.development:
        echo = Echo()
        table["/dev/echo"] = {"GET": Open(echo.show), "POST": Open(echo.receive)}

    async def nothing_here(request: Request, error: Exception) -> Response:
        async def refuse(request: Request) -> Response:
            refuse_two_readings(request)
            raise error

        return await answered(api, request, refuse)

    found = routes(api, table)
    others = Starlette(routes=found, exception_handlers={HTTPException: nothing_here})
    others.router.redirect_slashes = False  # a redirect would be built from the caller's Host
    app = Dispatch(literals(found), others)
    origins = api.settings.cors_origins
    return Cors(app, origins=origins, new_id=lambda: new_request_id(api)) if origins else app
