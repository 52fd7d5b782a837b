"""The file of issuers: what it means, and that every mistake in it is told with its place and what is right."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_issuer import RSA, public

from countwheel.auth.oauth import ACCESS_TOKEN_TYPES
from countwheel.auth.settings_table import TrustFileError
from countwheel.auth.trust import ClaimMapping, Discovered, Introspection, KeysAt, KeysIn, TrustedIssuer
from countwheel.auth.trust_file import read_issuers
from harness import clean_environment

OWN = "https://countwheel.example"
USUAL = 'issuer = "https://id.example"\naudience = "countwheel"\n'


def read(folder: Path, text: str, *, development: bool = False) -> tuple[TrustedIssuer, ...]:
    file = folder / "issuers.toml"
    file.write_text(text)
    return read_issuers(file, own_issuer=OWN, development=development)


def test_o1_the_least_that_must_be_said(tmp_path: Path) -> None:
    """O1, O2: an issuer and an audience; the rest is as strict as the standards."""
    (found,) = read(tmp_path, "[[issuer]]\n" + USUAL)
    assert found == TrustedIssuer("https://id.example", ("countwheel",), ClaimMapping())
    assert found.algorithms == {"RS256", "ES256"}
    assert found.token_types == ACCESS_TOKEN_TYPES
    assert (found.keys, found.leeway_seconds, found.allow_http) == (Discovered(), 30, False)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    """Each setting arrives where it belongs; paths are relative to the file."""
    for name, text in {"secret": "s3cret\n", "token": "t", "keys.json": json.dumps({"keys": [public(RSA)]})}.items():
        (tmp_path / name).write_text(text)
    first, second = read(
        tmp_path,
        """
        [[issuer]]
        issuer = "https://id.example/realms/main"
        audience = ["a", "b"]
        algorithms = ["ES384", "EdDSA"]
        token_types = ["JWT", "AT+JWT"]
        jwks_uri = "https://keys.example/jwks"
        jwks_bearer_token_file = "token"
        leeway_seconds = 0
        tenant_claim = ["kubernetes.io", "namespace"]
        tenant_values = { default = "main" }
        scope_claim = "scp"
        roles_claim = ["realm_access", "roles"]
        granted_scopes = ["runs:read"]
        introspection_url = "https://id.example/introspect"
        introspection_client_id = "me"
        introspection_client_secret_file = "secret"

        [issuer.scopes]
        scheduler = ["jobs:read", "jobs:write"]
        "read only" = "jobs:read"

        [issuer.required_claims]
        repository_owner = ["acme", "acme-labs"]
        email_verified = true
        "https://sts.amazonaws.com/" = { org_id = "o-1", account = { id = 5 } }

        [[issuer]]
        issuer = "https://other.example/"
        audience = "c"
        any_type = true
        jwks_file = "keys.json"
        tenant = "other"
        """,
    )
    assert first.mapping == ClaimMapping(
        tenant_claim=("kubernetes.io", "namespace"),
        tenant_values={"default": "main"},
        scope_claim=("scp",),
        roles_claim=("realm_access", "roles"),
        scopes={"scheduler": frozenset({"jobs:read", "jobs:write"}), "read only": frozenset({"jobs:read"})},
        granted=frozenset({"runs:read"}),
        required={
            ("repository_owner",): frozenset({"acme", "acme-labs"}),
            ("email_verified",): frozenset({True}),
            ("https://sts.amazonaws.com/", "org_id"): frozenset({"o-1"}),
            ("https://sts.amazonaws.com/", "account", "id"): frozenset({5}),
        },
    )
    assert (first.audiences, first.algorithms, first.leeway_seconds) == (("a", "b"), {"ES384", "EdDSA"}, 0)
    assert first.token_types == {"jwt", "at+jwt"}
    assert first.keys == KeysAt("https://keys.example/jwks", tmp_path / "token")
    assert first.introspection == Introspection("https://id.example/introspect", "me", "s3cret")
    assert "s3cret" not in repr(first)
    assert (second.token_types, second.keys, second.mapping.tenant) == (None, KeysIn(tmp_path / "keys.json"), "other")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("audience = 'x'", ["issuer 1", "issuer", "is missing"]),
        ("issuer = 'https://id.example'", ["audience", "is missing"]),
        (USUAL + "audiance = 'x'", ["audiance", "did you mean audience"]),
        (USUAL + "zzz = 1", ["zzz", "known are"]),
        ("issuer = 'http://id.example'\naudience = 'x'", ["issuer", "not https", "allow_http"]),
        ("issuer = 'http://127.0.0.1:9'\naudience = 'x'", ["issuer", "not https"]),
        ("issuer = 'id.example'\naudience = 'x'", ["issuer", "https://"]),
        ("issuer = 'https://a@id.example'\naudience = 'x'", ["issuer", "no user name"]),
        ("issuer = 'https://id.example?x=1'\naudience = 'x'", ["issuer", "query"]),
        ("issuer = 'https://id.example#x'\naudience = 'x'", ["issuer", "fragment"]),
        ("issuer = 5\naudience = 'x'", ["issuer", "no text"]),
        (f"issuer = '{OWN}'\naudience = 'x'", ["issuer", "own"]),
        ("issuer = 'https://id.example'\naudience = []", ["audience", "list of texts"]),
        ("issuer = 'https://id.example'\naudience = [1]", ["audience", "list of texts"]),
        (USUAL + "algorithms = ['HS256']", ["algorithms", "HS256", "RS256"]),
        (USUAL + "algorithms = ['none']", ["algorithms", "none", "RS256"]),
        (USUAL + "algorithms = ['rs256']", ["algorithms", "rs256"]),
        (USUAL + "algorithms = []", ["algorithms", "list of texts"]),
        (USUAL + "leeway_seconds = 61", ["leeway_seconds", "0 to 60"]),
        (USUAL + "leeway_seconds = true", ["leeway_seconds", "0 to 60"]),
        (USUAL + "any_type = 'yes'", ["any_type", "neither true nor false"]),
        (USUAL + "any_type = true\ntoken_types = ['JWT']", ["any_type", "one of the two"]),
        (USUAL + "jwks_uri = 'http://id.example/keys'", ["jwks_uri", "not https"]),
        (USUAL + "jwks_file = 'nowhere.json'", ["jwks_file", "nowhere.json", "No such file"]),
        (USUAL + "jwks_file = 'empty.json'", ["jwks_file", "no key that may be used"]),
        (USUAL + "jwks_file = 'issuers.toml'", ["jwks_file"]),
        (USUAL + "jwks_file = 'empty.json'\njwks_uri = 'https://id.example/keys'", ["jwks_file", "one of the two"]),
        (USUAL + "jwks_bearer_token_file = 'empty.json'", ["jwks_bearer_token_file", "jwks_uri"]),
        (USUAL + "ca_file = 'empty.json'", ["ca_file", "PEM"]),
        (USUAL + "tenant = 'a'\ntenant_claim = 'b'", ["tenant_claim", "one of the two"]),
        (USUAL + "tenant_values = { a = 'b' }", ["tenant_values", "tenant_claim"]),
        (USUAL + "tenant_claim = 'a'\ntenant_values = { a = 1 }", ["tenant_values.a", "name of a tenant"]),
        (USUAL + "tenant_claim = 'a'\ntenant_values = 'b'", ["tenant_values", "no table"]),
        (USUAL + "granted_scopes = ['everything']", ["granted_scopes", "jobs:write"]),
        (USUAL + "scopes = { a = ['jobs:all'] }", ["scopes.a", "jobs:write"]),
        (USUAL + "scopes = { a = [['admin']] }", ["scopes.a"]),
        (USUAL + "scopes = { a = 1 }", ["scopes.a"]),
        (USUAL + "required_claims = { a = 1.5 }", ["required_claims.a"]),
        (USUAL + "required_claims = { a = [] }", ["required_claims.a"]),
        (USUAL + "introspection_url = 'https://id.example/i'", ["introspection_url", "introspection_client_id"]),
        (
            USUAL + "introspection_url = 'https://id.example/i'\nintrospection_client_id = 'x'\n"
            "introspection_client_secret_file = 'noise'",
            ["introspection_client_secret_file", "holds no text"],
        ),
        (USUAL + "introspection_client_id = 'x'", ["introspection_url", "is missing"]),
        (USUAL + "introspection_url = 'http://id.example/i'", ["introspection_url", "not https"]),
        ("issuer = 'https://accounts.google.com'\naudience = 'x'\ntenant = 'a'", ["required_claims", "anybody"]),
        (
            "issuer = 'https://token.actions.githubusercontent.com'\naudience = 'x'\ntenant_claim = 'a'",
            ["required_claims", "anybody"],
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: list[str]) -> None:
    """The variable, the file, which issuer, which setting, and what is right."""
    (tmp_path / "empty.json").write_text('{"keys": []}')
    (tmp_path / "noise").write_bytes(b"\xff\xfe")
    with pytest.raises(TrustFileError) as raised:
        read(tmp_path, "[[issuer]]\n" + text)
    for part in ["COUNTWHEEL_ISSUERS_FILE", str(tmp_path / "issuers.toml"), *told]:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[issuer]]\n" + USUAL + "[[issuer]]\n" + USUAL, "issuer 2"),
        ("[issuer]\n" + USUAL, "[[issuer]]"),
        ("issuers = 5", "[[issuer]]"),
        ("[[issuer]\n", "cannot read"),
        ("\x00", "cannot read"),
    ],
)
def test_a_mistake_of_the_whole_file(tmp_path: Path, text: str, told: str) -> None:
    """Issuers twice, other tables, no TOML."""
    with pytest.raises(TrustFileError, match="COUNTWHEEL_ISSUERS_FILE") as raised:
        read(tmp_path, text)
    assert told in str(raised.value)


def test_o7_only_one_issuer_is_asked_about_opaque_tokens(tmp_path: Path) -> None:
    """O7: an opaque token does not say whose it is: two who could be asked are a mistake."""
    (tmp_path / "secret").write_text("s")
    asked = "introspection_client_id = 'x'\nintrospection_client_secret_file = 'secret'\n"
    tables = [
        f"[[issuer]]\nissuer = 'https://{name}.example'\naudience = 'x'\nintrospection_url = 'https://{name}.example/i'\n"
        for name in "ab"
    ]
    assert len(read(tmp_path, tables[0] + asked)) == 1
    with pytest.raises(TrustFileError, match="only one issuer"):
        read(tmp_path, "".join(table + asked for table in tables))


@pytest.mark.parametrize(
    ("url", "extra", "settings", "is_right"),
    [
        ("http://127.0.0.1:9", "", {"development": True}, True),
        ("http://localhost:9", "", {"development": True}, True),
        ("http://[::1]:9", "", {"development": True}, True),
        ("http://id.example", "", {"development": True}, False),
        ("http://127.0.0.1.attacker.example", "", {"development": True}, False),
        ("http://127.0.0.1:9", "", {}, False),
        ("http://id.example", "allow_http = true", {}, True),
    ],
)
def test_o5_plain_http_is_for_development(
    tmp_path: Path, url: str, extra: str, settings: dict[str, Any], *, is_right: bool
) -> None:
    """O5: https, but for loopback in development, and where it is allowed in so many words."""
    try:
        read(tmp_path, f"[[issuer]]\nissuer = '{url}'\naudience = 'x'\n{extra}", **settings)
    except TrustFileError:
        assert not is_right
    else:
        assert is_right


def test_a_mistake_ends_the_start_with_one_line(tmp_path: Path) -> None:
    """`countwheel serve` says it before it listens or asks a database, without a trace."""
    file = tmp_path / "issuers.toml"
    file.write_text("[[issuer]]\n" + USUAL + "algorithms = ['HS256']")
    environment = clean_environment() | {
        "COUNTWHEEL_ISSUERS_FILE": str(file),
        "COUNTWHEEL_DATABASE_URL": "postgresql://127.0.0.1:9/none",
        "COUNTWHEEL_SECRET_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    }
    done = subprocess.run(
        [sys.executable, "-m", "countwheel", "serve"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "algorithms" in line
    assert "HS256" in line
