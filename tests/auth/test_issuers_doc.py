"""O1, O2, O6: `docs/issuers.md` is true: each example is read, and judges tokens in the shape of its issuer.

The shapes are those of the issuers' own documentation, abridged; what counts is where each puts what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from fake_issuer import OTHER, RSA, public
from forge import Sign, ecdsa, rs256, token
from joserfc.jwk import ECKey

from certificates import make_certificate
from countwheel.auth.federation import ExternalIdentity, ExternalVerifier
from countwheel.auth.jwks import ASYMMETRIC_ALGORITHMS, KeyCache
from countwheel.auth.oauth import InvalidTokenError
from countwheel.auth.principal import ALL_SCOPES
from countwheel.auth.trust import TrustedIssuer
from countwheel.auth.trust_file import read_issuers
from countwheel.testing import FakeClock

PAGE = Path(__file__).parents[2] / "docs/issuers.md"
START = datetime(2026, 11, 25, tzinfo=UTC)
NOW = int(START.timestamp())
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
_SECTION = re.compile(r"^## ([^\n]+)\n(?:(?!^## )[^\n]*\n)*?```toml\n(.*?)```", re.MULTILINE | re.DOTALL)
SNIPPETS = dict(_SECTION.findall(PAGE.read_text()))
"""The example of each section."""


_BY_RSA = rs256(RSA)


@dataclass(frozen=True)
class Shape:
    """A token as an issuer makes it, what it is worth here, and what makes it a stranger's."""

    claims: Mapping[str, Any]
    tenant: str
    scopes: set[str]
    stranger: Mapping[str, Any]
    """Changes after which the token opens nothing, or names no tenant."""
    header: Mapping[str, Any] = field(default_factory=lambda: {"typ": "JWT"})
    sign: Sign = _BY_RSA


_POD = {
    "aud": ["countwheel"],
    "iss": "https://kubernetes.default.svc.cluster.local",
    "nbf": NOW,
    "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
    "sub": "system:serviceaccount:billing:reporter",
    "kubernetes.io": {
        "namespace": "billing",
        "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
        "pod": {"name": "reporter-5f6", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
        "serviceaccount": {"name": "reporter", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        "warnafter": NOW + 1800,
    },
}

SHAPES = {
    "Keycloak": Shape(
        {
            "iss": "https://id.example.com/realms/main",
            "aud": ["countwheel", "account"],
            "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da",
            "jti": "trrtcc:d58f5dc8-fd8f-462b-8a19-716f8f83985b",
            "typ": "Bearer",
            "azp": "nightly-reports",
            "acr": "1",
            "allowed-origins": ["/*"],
            "realm_access": {"roles": ["default-roles-main", "offline_access", "scheduler-admin"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
            "scope": "email profile",
            "clientHost": "192.0.2.7",
            "preferred_username": "service-account-nightly-reports",
            "client_id": "nightly-reports",
        },
        "default",
        {"jobs:read", "jobs:write", "runs:read", "runs:write"},
        {"typ": "ID", "scope": ..., "aud": "countwheel"},
    ),
    "Auth0": Shape(
        {
            "iss": "https://example.eu.auth0.com/",
            "sub": "Pq3EKLxPQoZDpWuQUgcGrAHLIdAvlLJe@clients",
            "aud": ["https://countwheel.example.com", "https://example.eu.auth0.com/userinfo"],
            "azp": "Pq3EKLxPQoZDpWuQUgcGrAHLIdAvlLJe",
            "gty": "client-credentials",
            "scope": "openid jobs:read",
            "permissions": ["jobs:read", "runs:read", "read:reports"],
            "https://countwheel.example.com/tenant": "billing",
        },
        "billing",
        {"jobs:read", "runs:read"},
        {"https://countwheel.example.com/tenant": ["billing"]},
    ),
    "Entra": Shape(
        {
            "aud": "66666666-7777-8888-9999-000000000000",
            "iss": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
            "nbf": NOW,
            "aio": "ASQA2/8ZAAAA",
            "azp": "bbbbbbbb-1c34-5678-9abc-def012345678",
            "azpacr": "1",
            "oid": "cccccccc-1c34-5678-9abc-def012345678",
            "rh": "0.AAAA.",
            "roles": ["Jobs.Write", "Something.Else"],
            "sub": "cccccccc-1c34-5678-9abc-def012345678",
            "tid": "11111111-2222-3333-4444-555555555555",
            "uti": "AAAA",
            "ver": "2.0",
        },
        "default",
        {"jobs:read", "jobs:write"},
        {"iss": "https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/v2.0"},
        header={"typ": "JWT", "x5t": "RSA"},
    ),
    "Okta": Shape(
        {
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "iss": "https://example.okta.com/oauth2/default",
            "aud": "api://countwheel",
            "cid": "nmdP1fcyvdVO11AL7ECm",
            "scp": ["jobs:read", "jobs:write"],
            "sub": "nmdP1fcyvdVO11AL7ECm",
        },
        "default",
        {"jobs:read", "jobs:write"},
        {"aud": "nmdP1fcyvdVO11AL7ECm", "at_hash": "x"},
        header={},
    ),
    "Google": Shape(
        {
            "aud": "https://countwheel.example.com",
            "azp": "102030405060708090100",
            "email": "nightly@billing-prod.iam.gserviceaccount.com",
            "email_verified": True,
            "iss": "https://accounts.google.com",
            "sub": "102030405060708090100",
            "google": {"compute_engine": {"project_id": "billing-prod", "zone": "europe-west3-a"}},
        },
        "billing",
        {"jobs:read", "jobs:write"},
        {"email": "nightly@attacker.iam.gserviceaccount.com"},
    ),
    "Kubernetes": Shape(
        _POD,
        "billing",
        {"jobs:read", "jobs:write", "runs:read"},
        {"aud": ["https://kubernetes.default.svc.cluster.local"]},
        header={},
    ),
    "Amazon EKS, GKE, AKS": Shape(
        _POD | {"iss": "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B716D3041E"},
        "billing",
        {"jobs:read", "jobs:write", "runs:read"},
        {"kubernetes.io": {"namespace": "kube-system"}},
        header={},
    ),
    "AWS": Shape(
        {
            "iss": "https://0a1b2c3d-4e5f-6789-abcd-ef0123456789.tokens.sts.global.api.aws",
            "aud": "countwheel",
            "sub": "arn:aws:iam::123456789012:role/DataProcessingRole",
            "jti": "xyz123-def456-ghi789-jkl012",
            "https://sts.amazonaws.com/": {
                "aws_account": "123456789012",
                "source_region": "eu-central-1",
                "org_id": "o-abc1234567",
                "principal_tags": {"team": "billing"},
            },
        },
        "billing",
        {"jobs:read", "jobs:write"},
        {"https://sts.amazonaws.com/": {"aws_account": "123456789012", "org_id": "o-attacker"}},
        header={"typ": "JWT", "alg": "ES384", "kid": "p384"},
        sign=ecdsa(P384, hashes.SHA384(), size=48),
    ),
    "GitHub Actions": Shape(
        {
            "jti": "example-id",
            "sub": "repo:acme/billing:ref:refs/heads/main",
            "aud": "countwheel",
            "ref": "refs/heads/main",
            "repository": "acme/billing",
            "repository_owner": "acme",
            "repository_owner_id": "1234567",
            "repository_visibility": "private",
            "event_name": "schedule",
            "job_workflow_ref": "acme/billing/.github/workflows/nightly.yml@refs/heads/main",
            "runner_environment": "github-hosted",
            "iss": "https://token.actions.githubusercontent.com",
            "nbf": NOW,
        },
        "default",
        {"jobs:read", "jobs:write"},
        {"repository_owner_id": "666", "repository_owner": "acme"},
        header={"typ": "JWT", "x5t": "example-thumbprint"},
    ),
}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples name, below a folder."""
    folder = tmp_path_factory.mktemp("mounted")
    account, own = folder / "var/run/secrets/kubernetes.io/serviceaccount", folder / "etc/countwheel"
    for made in (account, own):
        made.mkdir(parents=True)
    (account / "token").write_text("token")
    make_certificate(account).certificate.rename(account / "ca.crt")
    (own / "introspection-secret").write_text("secret")
    return folder


def read(text: str, mounted: Path) -> tuple[TrustedIssuer, ...]:
    file = mounted / "issuers.toml"
    file.write_text(re.sub(r'= "/(var|etc)/', rf'= "{mounted}/\1/', text))
    return read_issuers(file, own_issuer="https://countwheel.example")


def test_every_example_is_read(mounted: Path) -> None:
    """All of them together in one file, as an operator may have them; each has a shape to be judged, or is opaque."""
    assert len(read("\n".join(SNIPPETS.values()), mounted)) == len(SNIPPETS) == 10
    assert SNIPPETS.keys() - SHAPES.keys() == {"Opaque tokens"}


@pytest.mark.parametrize("name", sorted(SHAPES))
async def test_o1_o6_the_example_judges_a_token_of_its_issuer(name: str, mounted: Path) -> None:
    """O1, O6: the token stands for its subject, tenant and scopes; a stranger's, or one by another key, for nobody."""
    shape = SHAPES[name]
    (issuer,) = read(SNIPPETS[name], mounted)

    async def published() -> object:
        return {"keys": [public(RSA), public(P384)]}

    clock = FakeClock(START)
    verifier = ExternalVerifier(issuer, KeyCache(name, published, issuer.algorithms, clock), clock)
    header = {"alg": "RS256", "kid": "rsa", **shape.header}
    claims = {**shape.claims, "iat": NOW, "exp": NOW + 900}
    identity = await verifier.verify(token(header, claims, shape.sign))
    assert identity == ExternalIdentity(
        issuer.issuer, claims["sub"], issuer.audiences[0], shape.tenant, frozenset(shape.scopes), NOW + 900
    )
    changed = {name: value for name, value in {**claims, **shape.stranger}.items() if value is not ...}
    assert await tenant_or_refusal(verifier, token(header, changed, shape.sign)) is None
    assert await tenant_or_refusal(verifier, token(header, claims, rs256(OTHER))) is None


async def tenant_or_refusal(verifier: ExternalVerifier, text: str) -> str | None:
    try:
        return (await verifier.verify(text)).tenant
    except InvalidTokenError:
        return None


def test_the_page_names_every_setting_and_scope(mounted: Path) -> None:
    """The table of settings is that of the reader, with its algorithms and our scopes."""
    page = PAGE.read_text()
    rows = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    with pytest.raises(ValueError, match="known are") as raised:
        read('[[issuer]]\nissuer = "https://a.example"\naudience = "a"\nzzz = 1', mounted)
    assert listed == set(str(raised.value).partition("known are ")[2].split(", "))
    assert all(name in page for name in ASYMMETRIC_ALGORITHMS | ALL_SCOPES)
