"""Reads the file that `COUNTWHEEL_ISSUERS_FILE` names: TOML, with one `[[issuer]]` table for each issuer.

A mistake is an error at the start that names its place and what is right: who is trusted must not be guessed at.
"""

import ssl
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from countwheel.auth.compact import strict_json
from countwheel.auth.fetching import FetchError
from countwheel.auth.jwks import ASYMMETRIC_ALGORITHMS, usable_keys
from countwheel.auth.oauth import ACCESS_TOKEN_TYPES, MAX_LEEWAY_SECONDS
from countwheel.auth.principal import ALL_SCOPES
from countwheel.auth.settings_table import Table, TrustFileError
from countwheel.auth.trust import (
    DEFAULT_ALGORITHMS,
    DEFAULT_LEEWAY_SECONDS,
    ClaimMapping,
    ClaimPath,
    Discovered,
    Introspection,
    KeysAt,
    KeysIn,
    TrustedIssuer,
)
from countwheel.domain.target import target_fault

SHARED_BY_ALL = frozenset(
    {
        "https://accounts.google.com",
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
        "https://app.terraform.io",
        "https://agent.buildkite.com",
    }
)
"""Issuers that give anybody a token, for any audience: their word alone says nothing."""

_LOCALHOST = "localhost"


def read_issuers(path: Path | None, *, own_issuer: str, development: bool = False) -> tuple[TrustedIssuer, ...]:
    """Return the issuers that a file names, none where there is no file. Raises `TrustFileError`.

    `own_issuer` is ours, which needs no entry; in development an issuer on loopback may be plain http.
    """
    if path is None:
        return ()
    variable = "COUNTWHEEL_ISSUERS_FILE"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrustFileError(f"{variable}: cannot read {path}: {error}") from error
    place = f"{variable}: {path}"
    tables = document.pop("issuer", [])
    if document or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TrustFileError(f"{place}: only [[issuer]] tables belong here, one for each issuer")
    issuers = [
        _issuer(Table(f"{place}: issuer {position}", table, path.parent), development=development)
        for position, table in enumerate(tables, 1)
    ]
    _check_together(place, issuers, own_issuer)
    return tuple(issuers)


def _check_together(place: str, issuers: list[TrustedIssuer], own_issuer: str) -> None:
    seen = {own_issuer: "is this deployment's own, which needs no entry"}
    for position, issuer in enumerate(issuers, 1):
        if issuer.issuer in seen:
            raise TrustFileError(f"{place}: issuer {position}: issuer: {issuer.issuer} {seen[issuer.issuer]}")
        seen[issuer.issuer] = f"is issuer {position} already: give each issuer one table"
    if sum(issuer.introspection is not None for issuer in issuers) > 1:
        raise TrustFileError(
            f"{place}: introspection_url: only one issuer may have it: an opaque token does not say whose it is, and "
            "must not be shown to an issuer that did not make it"
        )


def _issuer(table: Table, *, development: bool) -> TrustedIssuer:
    allow_http = table.switch("allow_http")
    issuer = table.required_text("issuer", "https://id.example.com/realms/main")
    allow_http = allow_http or (development and _is_loopback(issuer))
    _check_url(table, "issuer", issuer, allow_http=allow_http)
    if "?" in issuer:
        raise table.fault("issuer", f"{issuer!r} has a query, which no issuer may have (RFC 8414)")
    audiences = table.texts("audience")
    if not audiences:
        raise table.fault("audience", 'is missing: give what its tokens call us, like ["https://countwheel.example"]')
    found = TrustedIssuer(
        issuer=issuer,
        audiences=audiences,
        mapping=_mapping(table, issuer),
        algorithms=_algorithms(table),
        token_types=_token_types(table),
        keys=_keys(table, allow_http=allow_http),
        introspection=_introspection(table, allow_http=allow_http),
        leeway_seconds=table.whole_number("leeway_seconds", DEFAULT_LEEWAY_SECONDS, MAX_LEEWAY_SECONDS),
        ca_file=_authorities(table),
        allow_http=allow_http,
    )
    table.finish()
    return found


def _algorithms(table: Table) -> frozenset[str]:
    names = table.texts("algorithms", tuple(DEFAULT_ALGORITHMS))
    for name in names:
        if name not in ASYMMETRIC_ALGORITHMS:
            known = ", ".join(sorted(ASYMMETRIC_ALGORITHMS))
            raise table.fault("algorithms", f"{name!r} is not one that tokens may be signed with; give of {known}")
    return frozenset(names)


def _token_types(table: Table) -> frozenset[str] | None:
    any_type = table.switch("any_type")
    if any_type and table.has("token_types"):
        raise table.fault("any_type", "token_types is given too: give one of the two")
    types = table.texts("token_types", tuple(ACCESS_TOKEN_TYPES))
    return None if any_type else frozenset(name.lower() for name in types)


def _keys(table: Table, *, allow_http: bool) -> Discovered | KeysAt | KeysIn:
    url, path, bearer = table.text("jwks_uri"), table.file("jwks_file"), table.file("jwks_bearer_token_file")
    if url is not None and path is not None:
        raise table.fault("jwks_file", "jwks_uri is given too: give one of the two")
    if bearer is not None and url is None:
        raise table.fault("jwks_bearer_token_file", "goes with jwks_uri: a token is sent only where you say")
    if path is not None:
        return _keys_in(table, path)
    if url is None:
        return Discovered()
    _check_url(table, "jwks_uri", url, allow_http=allow_http)
    return KeysAt(url, bearer)


def _keys_in(table: Table, path: Path) -> KeysIn:
    try:
        found = usable_keys(strict_json(path.read_bytes()), ASYMMETRIC_ALGORITHMS)
    except (ValueError, FetchError) as error:
        raise table.fault("jwks_file", f"{path}: {error}") from error
    if not found:
        raise table.fault("jwks_file", f"{path} has no key that may be used: each needs a kid, RSA 2048 bits at least")
    return KeysIn(path)


def _authorities(table: Table) -> Path | None:
    path = table.file("ca_file")
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError as error:
            raise table.fault("ca_file", f"{path} holds no certificates in PEM") from error
    return path


def _introspection(table: Table, *, allow_http: bool) -> Introspection | None:
    url, client_id = table.text("introspection_url"), table.text("introspection_client_id")
    secret = table.file("introspection_client_secret_file")
    if url is None:
        if client_id is not None or secret is not None:
            raise table.fault("introspection_url", "is missing, and its client is given")
        return None
    _check_url(table, "introspection_url", url, allow_http=allow_http)
    if client_id is None or secret is None:
        raise table.fault("introspection_url", "needs introspection_client_id and introspection_client_secret_file")
    try:
        text = secret.read_text(encoding="utf-8").strip()
    except ValueError:
        text = ""
    if not text:
        raise table.fault("introspection_client_secret_file", f"{secret} holds no text")
    return Introspection(url, client_id, text)


def _mapping(table: Table, issuer: str) -> ClaimMapping:
    tenant, tenant_claim = table.text("tenant"), table.texts("tenant_claim")
    if tenant is not None and tenant_claim:
        raise table.fault("tenant_claim", "tenant is given too: give one of the two")
    tenant_values = _texts_by_text(table, "tenant_values")
    if tenant_values is not None and not tenant_claim:
        raise table.fault("tenant_values", "goes with tenant_claim")
    required = dict(_required(table, table.table("required_claims") or {}, ()))
    granted = _scopes(table, "granted_scopes", table.texts("granted_scopes"))
    if issuer in SHARED_BY_ALL and not required and (tenant is not None or (tenant_claim and tenant_values is None)):
        raise table.fault(
            "required_claims", f"is missing: {issuer} gives anybody tokens; say what those of your own have in common"
        )
    return ClaimMapping(
        tenant=tenant,
        tenant_claim=tenant_claim,
        tenant_values=tenant_values,
        scope_claim=table.texts("scope_claim", ("scope",)),
        roles_claim=table.texts("roles_claim"),
        scopes={
            value: _scopes(table, f"scopes.{value}", (names,) if isinstance(names, str) else names)
            for value, names in (table.table("scopes") or {}).items()
        },
        granted=granted,
        required=required,
    )


def _texts_by_text(table: Table, name: str) -> Mapping[str, str] | None:
    values = table.table(name)
    for key, value in (values or {}).items():
        if not isinstance(value, str) or not value:
            raise table.fault(f"{name}.{key}", f"{value!r} is not the name of a tenant: give one in quotes")
    return values


def _scopes(table: Table, name: str, names: object) -> frozenset[str]:
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) and one in ALL_SCOPES for one in names):
        raise table.fault(name, f"{names!r}: give a list of {', '.join(sorted(ALL_SCOPES))}")
    return frozenset(names)


def _required(
    table: Table, values: Mapping[str, Any], path: ClaimPath
) -> Iterator[tuple[ClaimPath, frozenset[str | bool | int]]]:
    """Yield what claims must be; a table inside the table is an object that a claim lies in."""
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, dict):
            yield from _required(table, value, here)
            continue
        wanted = value if isinstance(value, list) else [value]
        if not wanted or not all(isinstance(one, str | bool | int) for one in wanted):
            raise table.fault(f"required_claims.{'.'.join(here)}", f"{value!r}: give a value, or a list of some")
        yield here, frozenset(wanted)


def _check_url(table: Table, name: str, url: str, *, allow_http: bool) -> None:
    if (fault := target_fault(url)) is not None:
        raise table.fault(name, f"{url!r} is {fault}")
    if urlsplit(url).scheme != "https" and not allow_http:
        raise table.fault(name, f"{url!r} is not https; allow_http = true allows plain http for this issuer")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == _LOCALHOST or ip_address(host).is_loopback
    except ValueError:
        return False
