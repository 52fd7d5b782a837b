"""Scopes as policies: a scope is shorthand for a built-in one (criterion A7)."""

from collections.abc import Collection

from countwheel.auth.policy import Effect, Policy, Statement


def policy_of_scope(scope: str, actions: Collection[str]) -> Policy:
    """Return the policy that a scope stands for: its actions, on every resource of the tenant.

    No policy of a tenant's own can have its name, `scope jobs:read`: it has a space.
    """
    return Policy(f"scope {scope}", (Statement(Effect.ALLOW, tuple(sorted(actions)), ("*",)),))
