"""What can be done, by name: every operation of the contract is one action on one resource (criterion A7).

A scope is shorthand for a policy that allows the actions which name it here, on every resource of the tenant.
"""

from collections.abc import Mapping

from countwheel.auth.principal import ADMIN, JOBS_READ, JOBS_WRITE, RUNS_READ, RUNS_WRITE

_BY_SCOPE: Mapping[str, tuple[str, ...]] = {
    JOBS_READ: (
        "jobs:List", "jobs:Read", "jobs:ListVersions",
        "schedules:Preview", "schedules:Simulate", "forecast:Read",
        "calendars:List", "calendars:Read",
        "secrets:List", "secrets:Read",
        "targets:List", "targets:Read",
        "notifications:Read",
    ),
    JOBS_WRITE: (
        "jobs:Create", "jobs:Put", "jobs:Update", "jobs:Delete", "jobs:Pause", "jobs:Resume",
        "calendars:Put", "calendars:Delete",
        "secrets:Put", "secrets:Delete",
        "targets:Put", "targets:Delete", "targets:Pause", "targets:Resume",
        "notifications:Put",
    ),
    RUNS_READ: ("runs:List", "runs:Read", "jobs:Audit", "failures:List"),
    RUNS_WRITE: (
        "runs:Create", "runs:Cancel", "runs:Retry", "runs:Resolve", "runs:Complete", "runs:Heartbeat", "runs:Redrive",
        "jobs:Backfill",
    ),
    ADMIN: (
        "nodes:List",
        "signing-secrets:List", "signing-secrets:Rotate",
        "clients:List", "clients:Create", "clients:Read", "clients:Rotate", "clients:Revoke",
        "principals:List", "principals:Create", "principals:Read", "principals:Delete",
        "access-keys:List", "access-keys:Create", "access-keys:Revoke",
        "policies:List", "policies:Read", "policies:Put", "policies:Delete", "policies:Attach", "policies:Detach",
        "policies:Simulate",
        "tenants:List", "tenants:Create", "tenants:Read", "tenants:Update", "tenants:Suspend", "tenants:Resume",
        "audit-log:List",
    ),
}  # fmt: skip

ACTIONS: Mapping[str, str] = {action: scope for scope, actions in _BY_SCOPE.items() for action in actions}
"""Every action, with the scope that stands for it."""


def actions_of(scope: str) -> tuple[str, ...]:
    """Return the actions that a scope stands for: none where nobody knows it."""
    return _BY_SCOPE.get(scope, ())
