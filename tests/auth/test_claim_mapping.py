"""What claims of an external issuer are worth here: tenants, scopes, requirements. Pure."""

from typing import Any

import pytest

from countwheel.auth.trust import ClaimMapping, claim_at

BY_NAMESPACE = ClaimMapping(tenant_claim=("kubernetes.io", "namespace"))
MAPPED = ClaimMapping(tenant_claim=("org",), tenant_values={"o-1": "acme"})


@pytest.mark.parametrize(
    ("mapping", "claims", "tenant"),
    [
        (ClaimMapping(tenant="acme"), {}, "acme"),
        (ClaimMapping(), {"tenant": "acme"}, None),
        (ClaimMapping(tenant_claim=("org",)), {"org": "acme"}, "acme"),
        (ClaimMapping(tenant_claim=("https://x/tenant",)), {"https://x/tenant": "acme"}, "acme"),
        (BY_NAMESPACE, {"kubernetes.io": {"namespace": "acme"}}, "acme"),
        (BY_NAMESPACE, {"kubernetes.io": {"pod": "acme"}}, None),
        (BY_NAMESPACE, {"kubernetes.io": "namespace"}, None),
        (BY_NAMESPACE, {"kubernetes.io": ["namespace"]}, None),
        (MAPPED, {"org": "o-1"}, "acme"),
        (MAPPED, {"org": "acme"}, None),
        (MAPPED, {"org": "o-2"}, None),
        (MAPPED, {}, None),
        *((ClaimMapping(tenant_claim=("org",)), {"org": wrong}, None) for wrong in ("", 5, None, True, ["acme"], {})),
        (ClaimMapping(tenant_claim=("org",)), {"org": "acme\n"}, None),
        (ClaimMapping(tenant_claim=("org",)), {"org": "a" * 201}, None),
    ],
)
def test_which_tenant_a_token_is_of(mapping: ClaimMapping, claims: Any, tenant: str | None) -> None:
    """The fixed one, the claim's value, or what the value stands for; anything else is none."""
    assert mapping.tenant_of(claims) == tenant


ROLES = ClaimMapping(
    roles_claim=("realm_access", "roles"),
    scopes={"scheduler": frozenset({"jobs:write"}), "jobs:read": frozenset({"runs:read"})},
    granted=frozenset({"runs:write"}),
)


@pytest.mark.parametrize(
    ("mapping", "claims", "scopes"),
    [
        (ClaimMapping(), {"scope": "openid jobs:read runs:write"}, {"jobs:read", "runs:write"}),
        # Somebody else's word for somebody else's right.
        (ClaimMapping(), {"scope": "admin"}, set()),
        (ClaimMapping(scopes={"admin": frozenset({"admin"})}), {"scope": "admin"}, {"admin"}),
        (ClaimMapping(granted=frozenset({"admin"})), {}, {"admin"}),
        (ClaimMapping(), {"scope": ["jobs:read", 5, None, ["admin"]]}, {"jobs:read"}),
        (ClaimMapping(), {"scope": "JOBS:READ jobs:read2 jobs:*  "}, set()),
        (ClaimMapping(), {"scope": {"jobs:read": True}}, set()),
        (ClaimMapping(), {"scp": "jobs:read"}, set()),
        (ClaimMapping(scope_claim=("scp",)), {"scp": ["jobs:read"], "scope": "admin"}, {"jobs:read"}),
        (ROLES, {}, {"runs:write"}),
        (ROLES, {"realm_access": {"roles": ["scheduler", "other"]}}, {"runs:write", "jobs:write"}),
        # A role is what it is mapped to, and never a scope by its mere name.
        (ROLES, {"realm_access": {"roles": ["admin", "jobs:write"]}}, {"runs:write"}),
        (ROLES, {"scope": "scheduler jobs:read"}, {"runs:write", "jobs:write", "runs:read"}),
    ],
)
def test_what_a_token_may(mapping: ClaimMapping, claims: Any, scopes: set[str]) -> None:
    """Our own names in the scope claim, what the table maps, and what every token gets."""
    assert mapping.scopes_of(claims) == scopes


@pytest.mark.parametrize(
    ("wanted", "value", "is_met"),
    [
        ({"a", "b"}, "b", True),
        ({"a"}, ["x", "a"], True),
        ({"a"}, "ab", False),
        ({"a"}, ["ab"], False),
        ({"a"}, {"a": 1}, False),
        ({"a"}, None, False),
        ({True}, True, True),
        ({True}, 1, False),
        ({True}, "true", False),
        ({1}, True, False),
        ({5}, 5, True),
        ({5}, 5.0, False),
    ],
)
def test_what_is_required_of_a_token(wanted: Any, value: Any, *, is_met: bool) -> None:
    """The claim is one of the values, of its very type, or a list that holds one."""
    mapping = ClaimMapping(required={("x", "y"): frozenset(wanted)})
    assert mapping.meets_requirements({"x": {"y": value}}) is is_met
    assert not mapping.meets_requirements({})


def test_no_path_leads_to_no_claim() -> None:
    """A path that is not configured does not mean the claims themselves."""
    assert claim_at({"a": 1}, ()) is None
