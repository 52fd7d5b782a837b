"""Principals and scopes."""

import re
from dataclasses import dataclass
from uuid import UUID

JOBS_READ = "jobs:read"
JOBS_WRITE = "jobs:write"
RUNS_READ = "runs:read"
RUNS_WRITE = "runs:write"
ADMIN = "admin"

ALL_SCOPES = frozenset({JOBS_READ, JOBS_WRITE, RUNS_READ, RUNS_WRITE, ADMIN})

# RFC 6749, appendix A.4: printable ASCII without space, quote and backslash.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. Every right is one of `scopes`; `admin` stands for administration alone and implies no other."""

    tenant_id: UUID
    client_id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether this principal was given `scope`."""
        return scope in self.scopes


def parse_scope(text: str) -> frozenset[str]:
    """Return the scopes of a `scope` parameter or claim (RFC 6749 §3.3). Raises `ValueError`."""
    parts = [part for part in text.split(" ") if part]
    if not all(_SCOPE_TOKEN.fullmatch(part) for part in parts):
        raise ValueError("scope holds characters that no scope may have")
    return frozenset(parts)
