"""Who calls, and the scopes that are shorthand for what may be done."""

import re
from uuid import UUID

from msgspec import Struct

from countwheel.auth.conditions import Context
from countwheel.auth.policy import Decision, Policy, Question, decide

JOBS_READ = "jobs:read"
JOBS_WRITE = "jobs:write"
RUNS_READ = "runs:read"
RUNS_WRITE = "runs:write"
ADMIN = "admin"

ALL_SCOPES = frozenset({JOBS_READ, JOBS_WRITE, RUNS_READ, RUNS_WRITE, ADMIN})

# RFC 6749, appendix A.4: printable ASCII without space, quote and backslash.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)


class Principal(Struct, frozen=True):
    """Who calls: `name` is `clients/{id}`, `principals/{id}` or `issuers/{issuer}#{subject}`.

    What it may do is what `policies` allow and none of them denies (criterion A7). A scope is one of them; `admin`
    stands for administration alone and implies no other. `key_id` is the access key, or the token's id.
    """

    tenant_id: UUID
    name: str
    policies: tuple[Policy, ...]
    context: Context
    key_id: str | None

    def decide(self, action: str, resource: str) -> Decision:
        """Decide whether this principal may do `action` to `resource`, and say by which statement."""
        return decide(self.policies, Question(action, resource, self.context))

    def may(self, action: str, resource: str) -> bool:
        """Whether this principal may do `action` to `resource`."""
        return self.decide(action, resource).allowed


def parse_scope(text: str) -> frozenset[str]:
    """Return the scopes of a `scope` parameter or claim (RFC 6749 §3.3). Raises `ValueError`."""
    parts = [part for part in text.split(" ") if part]
    if not all(_SCOPE_TOKEN.fullmatch(part) for part in parts):
        raise ValueError("scope holds characters that no scope may have")
    return frozenset(parts)
