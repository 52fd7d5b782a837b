"""The application: every path with its operations."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import (
    audit,
    backfills,
    bulk,
    calendars,
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
    redrive,
    run_listing,
    runs,
    schedules,
    secrets,
    signing_secrets,
    targets,
    tokens,
    unknown_runs,
    versions,
)
from countwheel.api.cors import Cors
from countwheel.api.echo import Echo
from countwheel.api.parts import ApiParts
from countwheel.api.routing import Guarded, Open, Operation, Signed, answered, new_request_id, routes
from countwheel.auth.principal import ADMIN, JOBS_READ, JOBS_WRITE, RUNS_READ, RUNS_WRITE

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/v1/jobs": {
        "GET": Guarded(jobs.list_jobs, JOBS_READ),
        "POST": Guarded(jobs.create_job, JOBS_WRITE),
    },
    "/v1/jobs:pause": {"POST": Guarded(bulk.pause_jobs, JOBS_WRITE)},
    "/v1/jobs:resume": {"POST": Guarded(bulk.resume_jobs, JOBS_WRITE)},
    "/v1/jobs:delete": {"POST": Guarded(bulk.delete_jobs, JOBS_WRITE)},
    "/v1/jobs:run": {"POST": Guarded(bulk.run_jobs, RUNS_WRITE)},
    "/v1/jobs/{jobId}": {
        "GET": Guarded(jobs.read_job, JOBS_READ),
        "PUT": Guarded(job_put.put_job, JOBS_WRITE),
        "PATCH": Guarded(job_changes.amend_job, JOBS_WRITE),
        "DELETE": Guarded(jobs.delete_job, JOBS_WRITE),
    },
    "/v1/jobs/{jobId}/pause": {"POST": Guarded(job_changes.pause_job, JOBS_WRITE)},
    "/v1/jobs/{jobId}/resume": {"POST": Guarded(job_changes.resume_job, JOBS_WRITE)},
    "/v1/jobs/{jobId}/versions": {"GET": Guarded(versions.list_versions, JOBS_READ)},
    "/v1/jobs/{jobId}/backfill": {"POST": Guarded(backfills.backfill_job, RUNS_WRITE)},
    "/v1/jobs/{jobId}/audit": {"GET": Guarded(audit.audit_job, RUNS_READ)},
    "/v1/jobs/{jobId}/run/": {
        "GET": Guarded(runs.list_runs, RUNS_READ),
        "POST": Guarded(manual_runs.run_job, RUNS_WRITE),
    },
    "/v1/jobs/{jobId}/run/{runId}/": {
        "GET": Guarded(runs.read_run, RUNS_READ),
        "DELETE": Guarded(runs.delete_run, RUNS_WRITE),
    },
    "/v1/jobs/{jobId}/run/{runId}/retry": {"POST": Guarded(unknown_runs.retry_run, RUNS_WRITE)},
    "/v1/jobs/{jobId}/run/{runId}/resolve": {"POST": Guarded(unknown_runs.resolve_run, RUNS_WRITE)},
    "/v1/jobs/{jobId}/run/{runId}/complete": {"POST": Signed(completion.complete_run, RUNS_WRITE)},
    "/v1/jobs/{jobId}/run/{runId}/heartbeat": {"POST": Signed(completion.take_heartbeat, RUNS_WRITE)},
    "/v1/jobs/{jobId}/run/{runId}/redrive": {"POST": Guarded(redrive.redrive_run, RUNS_WRITE)},
    "/v1/runs": {"GET": Guarded(run_listing.list_all_runs, RUNS_READ)},
    "/v1/runs:redrive": {"POST": Guarded(redrive.redrive_runs, RUNS_WRITE)},
    "/v1/failures": {"GET": Guarded(failures.list_failures, RUNS_READ)},
    "/v1/notifications": {
        "GET": Guarded(notifications.read_notifications, JOBS_READ),
        "PUT": Guarded(notifications.put_notifications, JOBS_WRITE),
    },
    "/v1/calendars": {"GET": Guarded(calendars.list_calendars, JOBS_READ)},
    "/v1/calendars/{name}": {
        "GET": Guarded(calendars.read_calendar, JOBS_READ),
        "PUT": Guarded(calendars.put_calendar, JOBS_WRITE),
        "DELETE": Guarded(calendars.delete_calendar, JOBS_WRITE),
    },
    "/v1/secrets": {"GET": Guarded(secrets.list_secrets, JOBS_READ)},
    "/v1/secrets/{name}": {
        "GET": Guarded(secrets.read_secret, JOBS_READ),
        "PUT": Guarded(secrets.put_secret, JOBS_WRITE),
        "DELETE": Guarded(secrets.delete_secret, JOBS_WRITE),
    },
    "/v1/signing-secrets": {"GET": Guarded(signing_secrets.list_signing_secrets, ADMIN)},
    "/v1/signing-secrets:rotate": {"POST": Guarded(signing_secrets.rotate_signing_secret, ADMIN)},
    "/v1/tenants/{tenantId}/signing-keys": {"GET": Open(signing_secrets.list_public_keys)},
    "/v1/targets": {"GET": Guarded(targets.list_targets, JOBS_READ)},
    "/v1/targets/{name}": {
        "GET": Guarded(targets.read_target, JOBS_READ),
        "PUT": Guarded(targets.put_target, JOBS_WRITE),
        "DELETE": Guarded(targets.delete_target, JOBS_WRITE),
    },
    "/v1/targets/{name}/pause": {"POST": Guarded(targets.pause_target, JOBS_WRITE)},
    "/v1/targets/{name}/resume": {"POST": Guarded(targets.resume_target, JOBS_WRITE)},
    "/v1/schedules:preview": {"POST": Guarded(schedules.preview_schedule, JOBS_READ)},
    "/v1/schedules:simulate": {"POST": Guarded(schedules.simulate_schedule, JOBS_READ)},
    "/v1/forecast": {"GET": Guarded(forecast.read_forecast, JOBS_READ)},
    "/v1/nodes": {"GET": Guarded(nodes.list_nodes, ADMIN)},
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
"""The API: path, method, handler and the scope that it needs."""


HEALTH = ("/livez", "/readyz")
"""What a node without the role `api` answers all the same: whoever runs it must be able to ask."""


def build_app(api: ApiParts, *, health_only: bool = False) -> Starlette:
    """Return the ASGI application. In development it has its own receiver under /dev/echo."""
    table = {path: operations for path, operations in OPERATIONS.items() if path in HEALTH or not health_only}
    if api.settings.development:
        echo = Echo()
        table["/dev/echo"] = {"GET": Open(echo.show), "POST": Open(echo.receive)}

    async def nothing_here(request: Request, error: Exception) -> Response:
        async def refuse(_request: Request) -> Response:
            raise error

        return await answered(api, request, refuse)

    app = Starlette(
        routes=routes(api, table), middleware=_middleware(api), exception_handlers={HTTPException: nothing_here}
    )
    app.router.redirect_slashes = False  # a redirect would be built from the caller's Host
    return app


def _middleware(api: ApiParts) -> list[Middleware]:
    origins = api.settings.cors_origins
    return [Middleware(Cors, origins=origins, new_id=lambda: new_request_id(api))] if origins else []
