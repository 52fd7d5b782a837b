"""`countwheel doctor`: every check by itself, and the command on real deployments."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import psycopg
import pytest

from certificates import make_certificate
from countwheel.auth import bootstrap
from countwheel.cli.doctor import Report
from countwheel.clock import SystemChance
from countwheel.config import Settings, read_settings
from countwheel.doctor.database import judge_deployment, judge_durability, judge_schema, judge_session
from countwheel.doctor.finding import Finding, Severity, good, unsafe
from countwheel.doctor.settings import (
    CertificateSeen,
    DatabaseAddress,
    FileSeen,
    judge_address,
    judge_certificate,
    judge_files,
    judge_issuers,
    judge_settings,
)
from countwheel.store.database import Database
from countwheel.store.durability import DatabaseWarning
from countwheel.store.inspection import Deployment, Session, Target, read_target
from harness import Ended, dev_server, run_command

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = bytes(range(32))
SAFE = Settings(
    host="0.0.0.0",
    public_url="https://scheduler.example.com",
    secret_key=KEY,
    tls_cert_file=Path("/c"),
    tls_key_file=Path("/k"),
    database_url="postgresql://db.example.com/countwheel?sslmode=verify-full",
)
SESSION = Session("countwheel", is_superuser=False, uses_tls=True, is_remote=True, now=NOW)
DEPLOYMENT = Deployment(("0.1.0",), NOW - timedelta(days=1), development_clients=0, has_admin=True)


def networks(*texts: str):
    return tuple(map(ip_network, texts))


def test_a_safe_deployment_is_found_safe() -> None:
    """Nothing is said that is not so."""
    findings = [
        *judge_settings(SAFE),
        *judge_files([FileSeen("secret_key_file", "/key", 0o100600)]),
        judge_address(DatabaseAddress(is_remote=True, sslmode="verify-full")),
        judge_certificate(CertificateSeen("", NOW + timedelta(days=60)), NOW),
        *judge_issuers(["https://login.example.com"]),
        *judge_session(SESSION, NOW, development=False),
        *judge_durability([]),
        judge_schema(()),
        *judge_deployment(DEPLOYMENT, NOW, version="0.1.0", development=False),
    ]
    assert [finding for finding in findings if finding.severity is not Severity.OK] == []
    assert all(finding.seen and not finding.why and not finding.remedy for finding in findings)


@pytest.mark.parametrize(
    ("changes", "check", "severity"),
    [
        ({"secret_key": b""}, "secret-key", "unsafe"),
        ({"secret_key": bytes(32)}, "secret-key", "unsafe"),
        ({"previous_secret_keys": (KEY,)}, "previous-secret-keys", "warning"),
        ({"public_url": ""}, "public-url", "warning"),
        ({"public_url": "http://scheduler.example.com"}, "public-url", "unsafe"),
        ({"tls_cert_file": None}, "listening", "unsafe"),
        ({"tls_cert_file": None, "host": "::"}, "listening", "unsafe"),
        ({"tls_cert_file": None, "trusted_proxies": networks("10.0.0.0/8")}, "listening", "ok"),
        ({"tls_cert_file": None, "host": "127.0.0.1"}, "listening", "ok"),
        ({"trusted_proxies": networks("0.0.0.0/0")}, "trusted-proxies", "unsafe"),
        ({"allow_http_targets": True}, "http-targets", "warning"),
        ({"allowed_networks": networks("169.254.169.254/32")}, "allowed-networks", "unsafe"),
        ({"allowed_networks": networks("0.0.0.0/0")}, "allowed-networks", "unsafe"),
        ({"allowed_networks": networks("fd00:ec2::254/128")}, "allowed-networks", "unsafe"),
        ({"allowed_networks": networks("127.0.0.1/32")}, "allowed-networks", "unsafe"),
        ({"allowed_networks": networks("10.1.0.0/16")}, "allowed-networks", "warning"),
        ({"allowed_networks": networks("203.0.113.0/24")}, "allowed-networks", "ok"),
        ({"token_lifetime_seconds": 14_400}, "token-lifetime", "ok"),
        ({"token_lifetime_seconds": 14_401}, "token-lifetime", "warning"),
        ({"cors_origins": ("https://app.example.com",)}, "cors-origins", "ok"),
        ({"cors_origins": ("https://a.example", "http://app.example.com")}, "cors-origins", "unsafe"),
        ({"cors_origins": ("http://localhost:3000", "http://[::1]:80")}, "cors-origins", "warning"),
        ({"unknown": ("secert_key",)}, "unknown-settings", "warning"),
    ],
)
def test_settings_are_judged(changes, check: str, severity: str) -> None:
    """Each setting by itself; what is wrong says why it matters and what to set."""
    found = {finding.check: finding for finding in judge_settings(replace(SAFE, **changes))}
    assert found[check].severity == severity
    assert bool(found[check].why) == bool(found[check].remedy) == (severity != "ok")
    assert {name for name, finding in found.items() if finding.severity is not Severity.OK} <= {check}


@pytest.mark.parametrize(
    ("mode", "severity"), [(0o600, "ok"), (0o400, "ok"), (0o640, "warning"), (0o644, "unsafe"), (None, "warning")]
)
def test_files_with_secrets_are_their_owners(mode, severity: str) -> None:
    """Open to everybody is unsafe, to a group doubtful."""
    (finding,) = judge_files([FileSeen("secret_key_file", "/run/key", mode)])
    assert (finding.severity, "COUNTWHEEL_SECRET_KEY_FILE (/run/key)" in finding.seen) == (severity, True)


@pytest.mark.parametrize(
    ("dsn", "remote", "sslmode", "severity"),
    [
        ("postgresql://u:p@db.example.com/x?sslmode=verify-full", True, "verify-full", "ok"),
        ("postgresql://u:p@db.example.com/x?sslmode=verify-ca", True, "verify-ca", "warning"),
        ("postgresql://u:p@db.example.com/x?sslmode=require", True, "require", "warning"),
        ("postgresql://u:p@db.example.com/x?sslmode=prefer", True, "prefer", "unsafe"),
        ("postgresql://u:p@db.example.com/x", True, "", "unsafe"),
        ("postgresql://u:p@127.0.0.1,10.0.0.1/x", True, "", "unsafe"),
        ("host=localhost dbname=x", False, "", "ok"),
        ("host=/run/postgresql dbname=x", False, "", "ok"),
        ("host=localhost hostaddr=10.0.0.1 dbname=x", True, "", "unsafe"),
        ("", False, "", "ok"),
    ],
)
def test_the_way_to_postgres_is_judged(dsn: str, remote, sslmode: str, severity: str) -> None:
    """To another machine it must be encrypted, and led to whom it is meant for."""
    assert read_target(dsn) == Target(remote, sslmode)
    assert judge_address(DatabaseAddress(remote, sslmode)).severity == severity


@pytest.mark.parametrize(
    ("seen", "severity"),
    [
        (CertificateSeen("", NOW + timedelta(days=15)), "ok"),
        (CertificateSeen("", NOW + timedelta(days=13)), "warning"),
        (CertificateSeen("", NOW - timedelta(days=1)), "unsafe"),
        (CertificateSeen("cannot read /c: gone", None), "unsafe"),
    ],
)
def test_the_certificate_is_judged(seen: CertificateSeen, severity: str) -> None:
    """Two weeks before its end there is a warning."""
    assert judge_certificate(seen, NOW).severity == severity


def test_issuers_without_tls_are_unsafe() -> None:
    """What is before an @ is not printed."""
    (finding,) = judge_issuers(["https://a.example", "http://user:hidden@b.example"])
    assert (finding.severity, finding.seen) == (Severity.UNSAFE, "http://b.example")


@pytest.mark.parametrize(
    ("changes", "development", "check", "severity"),
    [
        ({"is_superuser": True}, False, "database-role", "unsafe"),
        ({"is_superuser": True}, True, "database-role", "ok"),
        ({"uses_tls": False}, False, "database-tls", "unsafe"),
        ({"uses_tls": False, "is_remote": False}, False, "database-tls", "ok"),
        ({"now": NOW + timedelta(seconds=2)}, False, "clock", "warning"),
        ({"now": NOW - timedelta(seconds=61)}, False, "clock", "unsafe"),
    ],
)
def test_the_session_is_judged(changes, development, check: str, severity: str) -> None:
    """Who we are to the server, how we reached it, and whether its clock is ours."""
    found = {
        finding.check: finding for finding in judge_session(replace(SESSION, **changes), NOW, development=development)
    }
    assert found[check].severity == severity


@pytest.mark.parametrize(
    ("changes", "check", "severity"),
    [
        ({"node_versions": ("0.1.0", "0.2.0")}, "node-versions", "warning"),
        ({"node_versions": ("0.2.0",)}, "node-versions", "warning"),
        ({"node_versions": ()}, "node-versions", "ok"),
        ({"newest_issuer_key_at": NOW - timedelta(days=31)}, "issuer-keys", "warning"),
        ({"newest_issuer_key_at": None}, "issuer-keys", "ok"),
        ({"development_clients": 1}, "development-client", "unsafe"),
        ({"has_admin": False}, "admin", "warning"),
    ],
)
def test_the_deployment_is_judged(changes, check: str, severity: str) -> None:
    """What is in the tables: releases, keys, clients."""
    found = {
        f.check: f for f in judge_deployment(replace(DEPLOYMENT, **changes), NOW, version="0.1.0", development=False)
    }
    assert found[check].severity == severity


def test_what_can_lose_data_is_said() -> None:
    """The warnings of the database, told apart into what is seen, why it matters and what to do."""
    found = list(
        judge_durability(
            [
                DatabaseWarning("fsync-off", "fsync is off: it loses; set it"),
                DatabaseWarning("old-transaction", "a: b; c"),
            ]
        )
    )
    assert found[0] == unsafe("fsync-off", "fsync is off", "it loses", "set it")
    assert found[1].severity is Severity.WARNING


def test_the_exit_code_says_whether_anything_is_unsafe(capsys: pytest.CaptureFixture[str]) -> None:
    """0 with warnings alone; the worst stands first."""
    doubt = Finding("b", Severity.WARNING, "seen", "why", "remedy")
    assert Report(as_json=False).show([good("a", "fine"), doubt]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "warning  b: seen"
    assert Report(as_json=True).show([good("a", "fine"), unsafe("c", "s", "w", "r")]) == 1
    assert [entry["check"] for entry in json.loads(capsys.readouterr().out)["findings"]] == ["c", "a"]


def test_settings_hide_their_secrets() -> None:
    """The repr of settings has neither the key nor the database's password."""
    given = {
        "COUNTWHEEL_SECRET_KEY": base64.b64encode(KEY).decode(),
        "COUNTWHEEL_DATABASE_URL": "host=h password=hidden",
    }
    shown = repr(read_settings(given, development=False))
    assert "hidden" not in shown
    assert repr(KEY) not in shown


def findings(ended: Ended) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(ended.output)["findings"]}


async def test_a_real_deployment_is_examined_and_no_secret_is_printed(
    dsn: str, database: Database, tmp_path: Path
) -> None:
    """Secrets in every setting that can hold one: neither output nor errors show any. Exit code 1: tests' PostgreSQL
    is fast and unsafe.
    """
    pair = make_certificate(tmp_path)
    pair.key.chmod(0o644)
    config = tmp_path / "countwheel.toml"
    config.write_text('config_secret = "hidden-in-file"\n')
    config.chmod(0o600)
    await bootstrap.create_client(database, SystemChance(), name="development")
    await database.close()
    role = "doctor_of_tests"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'hidden-in-dsn'")
    key = base64.b64encode(KEY).decode()
    given = {
        "COUNTWHEEL_DATABASE_URL": f"{dsn} user={role} password=hidden-in-dsn",
        "COUNTWHEEL_SECRET_KEY": key,
        "COUNTWHEEL_PUBLIC_URL": "https://user:hidden-in-url@scheduler.example.com",
        "COUNTWHEEL_PASSWROD": "hidden-in-unknown",
        "COUNTWHEEL_CONFIG": str(config),
        "COUNTWHEEL_TLS_CERT_FILE": str(pair.certificate),
        "COUNTWHEEL_TLS_KEY_FILE": str(pair.key),
        "COUNTWHEEL_CORS_ORIGINS": "http://app.example.com",
    }
    ended = await run_command("doctor", "--json", **given)
    text = await run_command("doctor", **given)
    found = findings(ended)
    assert (ended.code, text.code) == (1, 1)
    for check in ("fsync-off", "synchronous-commit-off", "database-role", "development-client", "cors-origins"):
        assert (check, found[check]["severity"]) == (check, "unsafe")
    for check in ("schema", "clock", "issuer-keys", "database-reachable", "database-tls", "secret-key"):
        assert (check, found[check]["severity"]) == (check, "ok")
    assert found["public-url"]["seen"] == "https://scheduler.example.com"
    assert found["certificate"]["severity"] == "warning"
    assert f"unsafe   file-permissions: COUNTWHEEL_TLS_KEY_FILE ({pair.key}) is open to everybody" in text.output
    assert "COUNTWHEEL_CONFIG_SECRET, COUNTWHEEL_PASSWROD" in text.output
    for shown in (ended.output, ended.errors, text.output, text.errors):
        assert "hidden" not in shown
        assert key not in shown
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("postgresql://u:hidden@127.0.0.1:9/x?connect_timeout=1", "database-reachable"),
        ("postgresql://u:hid%den@127.0.0.1/x", "database-url"),
        ("host=localhost password='hidden", "database-url"),
    ],
)
async def test_a_database_that_is_not_there_is_a_finding(url: str, check: str) -> None:
    """The settings are judged all the same; the password stays hidden."""
    key = base64.b64encode(KEY).decode()
    ended = await run_command("doctor", "--json", COUNTWHEEL_DATABASE_URL=url, COUNTWHEEL_SECRET_KEY=key)
    found = findings(ended)
    assert (ended.code, found[check]["severity"], found["secret-key"]["severity"]) == (1, "unsafe", "ok")
    assert "hid" not in ended.output + ended.errors


async def test_a_schema_that_is_behind_is_a_finding(empty_dsn: str) -> None:
    """What is in tables that are not there is not looked at."""
    found = findings(await run_command("doctor", "--json", COUNTWHEEL_DATABASE_URL=empty_dsn))
    assert (found["schema"]["severity"], found["schema"]["remedy"]) == ("unsafe", "run `countwheel db migrate`")
    assert "issuer-keys" not in found


async def test_a_development_server_is_examined_too(tmp_path: Path) -> None:
    """Its files are its owner's alone, and nothing is unsafe; that it is one is a warning."""
    async with dev_server(tmp_path / "data") as server:
        ended = await run_command("doctor", COUNTWHEEL_DATA_DIR=str(server.data_dir))
        assert ended.code == 0, ended.output
        assert "warning  development: this is `countwheel dev`" in ended.output
        assert ended.output.count("ok       file-permissions") == 3
        (server.data_dir / "client.json").chmod(0o604)
        assert (await run_command("doctor", COUNTWHEEL_DATA_DIR=str(server.data_dir))).code == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "no server runs on"), ({"COUNTWHEEL_PORT": "none"}, "COUNTWHEEL_PORT: 'none' is not a whole number")],
)
async def test_what_cannot_be_examined_is_told_apart(tmp_path: Path, given: dict[str, str], said: str) -> None:
    """Exit code 2, and why on standard error."""
    ended = await run_command("doctor", COUNTWHEEL_DATA_DIR=str(tmp_path), **given)
    assert (ended.code, ended.output, said in ended.errors) == (2, "", True)
