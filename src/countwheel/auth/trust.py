"""Whom we trust beside our own issuer, and what the claims of their tokens are worth here. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from countwheel.auth.oauth import ACCESS_TOKEN_TYPES
from countwheel.auth.principal import ADMIN, ALL_SCOPES

ClaimPath = tuple[str, ...]
"""The names that lead to a claim: one, or the names of the objects that it lies in before its own."""

DEFAULT_ALGORITHMS = frozenset({"RS256", "ES256"})
DEFAULT_LEEWAY_SECONDS = 30

_MAX_NAME_CHARACTERS = 200
_TAKEN_AS_THEY_STAND = ALL_SCOPES - {ADMIN}
"""Many issuers have an `admin` that means something else: ours is given by the operator's word alone."""
_FROM_INSIDE_A_CLAIM = str | bool | int


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """What claims mean here."""

    tenant: str | None = None
    """The tenant of every token; None where a claim says it, or where only registered principals get in."""
    tenant_claim: ClaimPath = ()
    tenant_values: Mapping[str, str] | None = None
    """The names of tenants by the claim's value; another value names no tenant. None: the value is the name."""
    scope_claim: ClaimPath = ("scope",)
    roles_claim: ClaimPath = ()
    scopes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Our scopes by a value of either claim."""
    granted: frozenset[str] = frozenset()
    """The scopes of every token of this issuer."""
    required: Mapping[ClaimPath, frozenset[_FROM_INSIDE_A_CLAIM]] = field(default_factory=dict)
    """Claims that a token must have, with the values that will do."""

    def meets_requirements(self, claims: Mapping[str, Any]) -> bool:
        """Whether every required claim has one of its values, or is a list that holds one."""
        return all(_holds_one(claim_at(claims, path), wanted) for path, wanted in self.required.items())

    def tenant_of(self, claims: Mapping[str, Any]) -> str | None:
        """Return the name of the token's tenant, or None where it has none."""
        if self.tenant is not None or not self.tenant_claim:
            return self.tenant
        value = claim_at(claims, self.tenant_claim)
        if not isinstance(value, str) or not is_name(value, _MAX_NAME_CHARACTERS):
            return None
        return value if self.tenant_values is None else self.tenant_values.get(value)

    def scopes_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return our scopes: what is mapped, what a scope claim names as we do, and what every token gets."""
        named, roles = _values(claim_at(claims, self.scope_claim)), _values(claim_at(claims, self.roles_claim))
        mapped = [self.scopes.get(value, frozenset()) for value in named + roles]
        as_they_stand = _TAKEN_AS_THEY_STAND.intersection(named).difference(self.scopes)
        return self.granted.union(as_they_stand, *mapped)


@dataclass(frozen=True, slots=True)
class Discovered:
    """The keys are where the issuer's metadata says (OpenID Connect Discovery 1.0 §4, RFC 8414 §3)."""


@dataclass(frozen=True, slots=True)
class KeysAt:
    """The keys are at a URL; `bearer_token_file` holds what it is asked with, read anew each time."""

    url: str
    bearer_token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KeysIn:
    """The keys are in a file, read anew as often as a URL would be asked."""

    path: Path


@dataclass(frozen=True, slots=True)
class Introspection:
    """Where opaque tokens are asked about (RFC 7662), and as whom."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One issuer whose tokens open doors here."""

    issuer: str
    """Its `iss`, exactly."""
    audiences: tuple[str, ...]
    """What we are called in its tokens: one must be in `aud`."""
    mapping: ClaimMapping
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    token_types: frozenset[str] | None = ACCESS_TOKEN_TYPES
    """The `typ` that an access token may have, in lower case; None takes any but that of an ID token."""
    keys: Discovered | KeysAt | KeysIn = Discovered()
    introspection: Introspection | None = None
    leeway_seconds: int = DEFAULT_LEEWAY_SECONDS
    ca_file: Path | None = None
    """The authorities that vouch for its servers, instead of the system's."""
    allow_http: bool = False


def claim_at(claims: Mapping[str, Any], path: ClaimPath) -> object:
    """Return the claim that a path leads to, or None."""
    value: object = claims if path else None
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def is_name(text: str, most_characters: int) -> bool:
    """Whether a text can be the name of somebody: not empty, not endless, no control characters or lone surrogates."""
    return 0 < len(text) <= most_characters and text.isprintable()


def _values(claim: object) -> list[str]:
    if isinstance(claim, str):
        return claim.split(" ")
    return [entry for entry in claim if isinstance(entry, str)] if isinstance(claim, list) else []


def _holds_one(claim: object, wanted: frozenset[_FROM_INSIDE_A_CLAIM]) -> bool:
    entries = claim if isinstance(claim, list) else [claim]
    # True is 1 for Python, not for whoever wrote the settings.
    return any(type(entry) is type(value) and entry == value for entry in entries for value in wanted)
