"""Settings: read once, from the environment and from an optional file, then frozen.

The file is TOML, named by `COUNTWHEEL_CONFIG`; its keys are the variables' names without the prefix, in lower case. The
environment wins over the file.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

PREFIX = "COUNTWHEEL_"

_LOOPBACK = "127.0.0.0/8,::1/128"
_SECRET_KEY_BYTES = 32
_SECRET_KEY_FILE = "secret_key_file"  # noqa: S105 (a setting's name)
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ORIGIN_PATTERN = re.compile(rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::\d{{1,5}})?", re.ASCII)


class SettingError(ValueError):
    """A setting that cannot be used: which one, and what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside. Units stand last in the names."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path = Path("./.countwheel")
    database_url: str = field(default="", repr=False)
    database_pooler: str = ""
    """`transaction` where COUNTWHEEL_DATABASE_URL leads to a pooler that lends sessions a transaction at a time."""
    public_url: str = ""
    """The issuer of our tokens; by default where this server is reached."""
    tls_cert_file: Path | None = None
    """PEM, with its chain; read again when it changes."""
    tls_key_file: Path | None = None
    audience: str = "countwheel"
    issuers_file: Path | None = None
    """Names the external issuers whose tokens are taken beside our own: see `countwheel.auth.trust_file`."""
    pg_bin: Path | None = None
    secret_key: bytes = field(default=b"", repr=False)
    previous_secret_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys that open what was sealed under them, and seal nothing: while the key changes."""
    secret_key_file: Path | None = None
    """Where the key was read from, if it was read from a file."""
    config: Path | None = None
    """The file that other settings were read from."""
    retention_days: int = 30
    audit_log_retention_days: int = 400
    """A year, and the time to look at it."""
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    denied_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    allow_http_targets: bool = False
    require_idempotency_key: bool = False
    max_body_bytes: int = 1_048_576
    max_connections: int = 4_096
    """Of clients, at once, to one node."""
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    busy_minute_runs: int = 1_000
    """A job whose first run is in a minute with so many runs of its tenant is created with a warning."""
    concurrency: int = 512
    database_connections: int = 8
    lease_seconds: float = 6.0
    stop_grace_seconds: float = 30.0
    token_lifetime_seconds: int = 3600
    log_format: str = "text"
    log_level: str = "info"
    listener_fd: int = 0
    """A listening socket that was inherited: how the workers of `serve --workers` share their port."""
    unknown: tuple[str, ...] = field(default=())
    """Names that looked like settings and are none: a mistyped setting must not be silent."""

    @property
    def is_behind_pooler(self) -> bool:
        """Whether the database is reached through a pooler that lends sessions a transaction at a time."""
        return bool(self.database_url) and self.database_pooler == "transaction"

    @property
    def url(self) -> str:
        """Where this server is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    @property
    def issuer_url(self) -> str:
        """The `iss` of the tokens that this deployment issues."""
        return self.public_url or self.url


def read_settings(environment: Mapping[str, str], *, development: bool) -> Settings:
    """Return the settings. In development, loopback and plain-http targets are allowed unless set otherwise.

    Raises `SettingError` that names the variable and what would be right.
    """
    given = _from_file(environment.get(f"{PREFIX}CONFIG", ""))
    given |= {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != f"{PREFIX}URL"
    }
    if key_file := given.get(_SECRET_KEY_FILE, ""):
        given["secret_key"] = _read_secret_key(key_file, given.get("secret_key", ""))
    if development:
        given = {"allowed_networks": _LOOPBACK, "allow_http_targets": "true"} | given
    if bool(given.get("tls_cert_file")) != bool(given.get("tls_key_file")):
        raise SettingError(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: give both, or none")
    known = {entry.name for entry in fields(Settings)} - {"unknown"}
    values = {name: _convert(name, text) for name, text in given.items() if name in known}
    return Settings(**values, unknown=tuple(sorted(set(given) - known)))  # type: ignore[arg-type] # by name, checked above


def _from_file(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"COUNTWHEEL_CONFIG: cannot read {path}: {error}") from error
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in document.items()}


def _read_secret_key(path: str, given: str) -> str:
    """Return the key that stands in a file, as orchestrators mount secrets. Raises `SettingError`."""
    variable = PREFIX + _SECRET_KEY_FILE.upper()
    if given:
        raise SettingError(f"{variable}: {PREFIX}SECRET_KEY is set too; give one of the two")
    try:
        return Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{variable}: cannot read {path}: {error}") from error


def _convert(name: str, text: str) -> object:
    variable = PREFIX + name.upper()
    if name in _WHOLE_NUMBERS:
        return _whole_number(variable, text, *_WHOLE_NUMBERS[name])
    if name in _SECONDS:
        return _seconds(variable, text, *_SECONDS[name])
    if name in _SWITCHES:
        return _switch(variable, text)
    if name in _CHOICES:
        return _choice(variable, text, _CHOICES[name])
    if name in _PATHS:
        return Path(text).expanduser() if text else None
    if (read := _READERS.get(name)) is not None:
        return read(variable, text)
    return text.rstrip("/") if name == "public_url" else text


_WHOLE_NUMBERS = {
    "port": (1, 65_535),
    "listener_fd": (3, 1_048_576),
    "retention_days": (1, 3_650),
    "audit_log_retention_days": (1, 36_500),
    "max_body_bytes": (1_024, 64 * 1_048_576),
    "max_connections": (1, 1_000_000),
    "concurrency": (1, 10_000),
    "database_connections": (2, 100),
    "busy_minute_runs": (1, 1_000_000),
    "token_lifetime_seconds": (60, 86_400),
}
_SECONDS = {
    "lease_seconds": (3.0, 600.0),
    "stop_grace_seconds": (0.0, 3_600.0),
    "head_seconds": (1.0, 600.0),
    "body_seconds": (1.0, 3_600.0),
}
_PATHS = {"config", "data_dir", "issuers_file", "pg_bin", _SECRET_KEY_FILE, "tls_cert_file", "tls_key_file"}
_SWITCHES = {"allow_http_targets", "require_idempotency_key"}
_CHOICES = {
    "log_format": ("text", "json"),
    "log_level": ("debug", "info", "warning", "error"),
    "database_pooler": ("", "transaction"),
}


def _whole_number(variable: str, text: str, low: int, high: int) -> int:
    if text.strip().isascii() and text.strip().isdigit() and low <= int(text) <= high:
        return int(text)
    raise SettingError(f"{variable}: {text!r} is not a whole number from {low} to {high}")


def _seconds(variable: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if low <= value <= high:
        return value
    raise SettingError(f"{variable}: {text!r} is not a number of seconds from {low:g} to {high:g}")


def _switch(variable: str, text: str) -> bool:
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off" | "":
            return False
        case _:
            raise SettingError(f"{variable}: {text!r} is neither true nor false")


def _choice(variable: str, text: str, choices: tuple[str, ...]) -> str:
    if text in choices:
        return text
    raise SettingError(f"{variable}: {text!r} is not one of {', '.join(choices)}")


def _networks(variable: str, text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingError(f"{variable}: {error}; give CIDRs with commas between, like 10.0.0.0/8,fd00::/8") from error


def _hosts(variable: str, text: str) -> tuple[str, ...]:
    """Return host patterns as the guard compares them: lower case, no final dot, addresses in their usual spelling."""
    hosts = [_plain_host(part.strip()) for part in text.split(",") if part.strip()]
    for host in hosts:
        if not _is_address(host) and _HOST_PATTERN.fullmatch(host) is None:
            raise SettingError(
                f"{variable}: {host!r} is not a host; give names with commas between, like a.example.com,*.example.org"
            )
    return tuple(hosts)


def _origins(variable: str, text: str) -> tuple[str, ...]:
    """Return origins as browsers write them (RFC 6454, section 6.2): `*` is none, and no page is let in unnamed."""
    origins = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins:
        if _ORIGIN_PATTERN.fullmatch(origin) is None:
            raise SettingError(
                f"{variable}: {origin!r} is not an origin; give scheme and host, with commas between, "
                "like https://app.example.com,http://localhost:3000"
            )
    return origins


def _plain_host(text: str) -> str:
    text = text.lower().rstrip(".")
    if not _is_address(text.strip("[]")):
        return text
    address = ip_address(text.strip("[]"))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _secret_key(variable: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SettingError(f"{variable}: not base64; make one with: openssl rand -base64 32") from error
    if len(key) != _SECRET_KEY_BYTES:
        raise SettingError(f"{variable}: {len(key)} bytes, not 32; make one with: openssl rand -base64 32")
    return key


def _secret_keys(variable: str, text: str) -> tuple[bytes, ...]:
    return tuple(_secret_key(variable, part.strip()) for part in text.split(",") if part.strip())


_READERS: Mapping[str, Callable[[str, str], object]] = {
    "allowed_networks": _networks,
    "denied_networks": _networks,
    "trusted_proxies": _networks,
    "allowed_hosts": _hosts,
    "denied_hosts": _hosts,
    "cors_origins": _origins,
    "secret_key": _secret_key,
    "previous_secret_keys": _secret_keys,
}
