"""What of the settings is unsafe: pure, on the settings and on what was seen of the files that they name."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from countwheel.config import PREFIX, Settings
from countwheel.doctor.finding import Finding, doubtful, good, unsafe

_Network = IPv4Network | IPv6Network

_METADATA = tuple(
    map(ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32"))
)
"""Where clouds give credentials to whoever asks from inside a machine."""
_LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
_LONG_TOKEN_SECONDS = 4 * 3600
_RENEW_WITHIN = timedelta(days=14)
_FEW_DIFFERENT_BYTES = 12
"""32 random bytes have fewer different ones about once in 10^13."""


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file that holds something secret: whose setting it is, and its permissions (None where it cannot be read)."""

    setting: str
    path: str
    mode: int | None


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where PostgreSQL is, by its connection string. `sslmode` is empty where none is asked for."""

    is_remote: bool
    sslmode: str


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """The certificate that is served: why it cannot be used, or until when it can."""

    fault: str
    expires_at: datetime | None


def judge_settings(settings: Settings) -> Iterator[Finding]:
    """Tell what of a deployment's own settings is unsafe."""
    yield _of_secret_key(settings.secret_key)
    if settings.previous_secret_keys:
        why = "whoever has an old key reads what is still sealed under it, and can sign callback URLs"
        seen = f"{len(settings.previous_secret_keys)} of them"
        yield doubtful("previous-secret-keys", seen, why, "run `countwheel admin reseal`, then take them out")
    yield _of_public_url(settings)
    yield _of_listening(settings)
    yield from _of_proxies(settings.trusted_proxies)
    yield _of_http_targets(settings)
    yield _of_networks(settings.allowed_networks)
    yield _of_token_lifetime(settings.token_lifetime_seconds)
    yield _of_origins(settings.cors_origins)
    yield of_unknown(settings.unknown)


def judge_files(files: Iterable[FileSeen]) -> Iterator[Finding]:
    """Tell who else may read the files that hold secrets."""
    for file in files:
        name = f"{PREFIX}{file.setting.upper()} ({file.path})"
        why = "whoever reads it can sign tokens, read every sealed secret, or reach the database"
        if file.mode is None:
            yield doubtful("file-permissions", f"{name} cannot be looked at", why, f"run as the owner of {file.path}")
        elif file.mode & 0o007:
            yield unsafe("file-permissions", f"{name} is open to everybody", why, f"chmod 600 {file.path}")
        elif file.mode & 0o070:
            yield doubtful("file-permissions", f"{name} is open to its group", why, f"chmod 600 {file.path}")
        else:
            yield good("file-permissions", f"{name} is its owner's alone")


def judge_address(address: DatabaseAddress) -> Finding:
    """Tell whether the way to PostgreSQL can be listened to, or led astray."""
    seen = f"sslmode={address.sslmode}" if address.sslmode else "no sslmode is set"
    if not address.is_remote:
        return good("postgres-tls", "PostgreSQL is on this machine")
    if address.sslmode == "verify-full":
        return good("postgres-tls", seen)
    remedy = "add sslmode=verify-full&sslrootcert=... to COUNTWHEEL_DATABASE_URL"
    if address.sslmode in {"require", "verify-ca"}:
        why = "the connection is encrypted, but whom it leads to is not checked by name"
        return doubtful("postgres-tls", seen, why, remedy)
    why = "passwords and payloads may cross the network in clear, and nobody checks who answers"
    return unsafe("postgres-tls", seen, why, remedy)


def judge_certificate(seen: CertificateSeen, now: datetime) -> Finding:
    """Tell how long the certificate that is served still holds."""
    remedy = "put a new pair in the place of COUNTWHEEL_TLS_CERT_FILE and COUNTWHEEL_TLS_KEY_FILE"
    why = "clients refuse it, or are taught to look away"
    if seen.fault or seen.expires_at is None:
        return unsafe("certificate", seen.fault, why, remedy)
    until = f"good until {seen.expires_at:%Y-%m-%d}"
    if seen.expires_at < now:
        return unsafe("certificate", until, why, remedy)
    if seen.expires_at - now < _RENEW_WITHIN:
        return doubtful("certificate", until, "it ends within two weeks", remedy)
    return good("certificate", until)


def judge_issuers(urls: Sequence[str]) -> Iterator[Finding]:
    """Tell which external issuers are reached without TLS: whoever is on the way can give the keys."""
    for url in urls:
        if not url.lower().startswith("https://"):
            why = "whoever is on the way can answer with keys of his own, and sign any token"
            yield unsafe("issuers", _without_userinfo(url), why, "give the https URL of the issuer")


def of_unknown(names: Sequence[str]) -> Finding:
    """Tell which settings are none. Names alone: what they are set to may be a secret."""
    if not names:
        return good("unknown-settings", "every setting is known")
    given = ", ".join(PREFIX + name.upper() for name in names)
    why = "a mistyped setting is ignored, and what it was to forbid is allowed"
    return doubtful("unknown-settings", given, why, "correct or remove them")


def _of_secret_key(key: bytes) -> Finding:
    remedy = "make one with `openssl rand -base64 32`, and name its file in COUNTWHEEL_SECRET_KEY_FILE"
    if not key:
        return unsafe("secret-key", "none is set", "`countwheel serve` does not start without one", remedy)
    if len(set(key)) < _FEW_DIFFERENT_BYTES:
        return unsafe("secret-key", "it is not random", "whoever guesses it opens every sealed secret", remedy)
    return good("secret-key", "set")


def _of_public_url(settings: Settings) -> Finding:
    remedy = "set COUNTWHEEL_PUBLIC_URL to the https URL that clients use"
    if not settings.public_url:
        why = "nodes with other addresses issue tokens of other issuers, and each refuses those of the others"
        return doubtful("public-url", f"not set: the issuer is {settings.issuer_url}", why, remedy)
    if not settings.public_url.startswith("https://"):
        why = "client secrets and tokens are sent in clear to where this URL leads"
        return unsafe("public-url", _without_userinfo(settings.public_url), why, remedy)
    return good("public-url", _without_userinfo(settings.public_url))


def _of_listening(settings: Settings) -> Finding:
    at = f"{settings.host}:{settings.port}"
    if settings.tls_cert_file is not None:
        return good("listening", f"{at}, with TLS")
    if _is_loopback(settings.host):
        return good("listening", f"{at}, this machine alone")
    if settings.trusted_proxies:
        return good("listening", f"{at}, behind trusted proxies")
    return unsafe(
        "listening",
        f"{at}, without TLS",
        "secrets and tokens cross the network in clear",
        "set COUNTWHEEL_TLS_CERT_FILE and COUNTWHEEL_TLS_KEY_FILE; or put a proxy with TLS in front, name it in "
        "COUNTWHEEL_TRUSTED_PROXIES, and let nobody else reach this port",
    )


def _of_proxies(networks: Sequence[_Network]) -> Iterator[Finding]:
    for network in networks:
        if network.prefixlen == 0:
            why = "every client can write in X-Forwarded-For where it comes from"
            yield unsafe("trusted-proxies", str(network), why, "name the proxies' own networks")


def _of_http_targets(settings: Settings) -> Finding:
    if not settings.allow_http_targets:
        return good("http-targets", "refused")
    why = "payloads, headers and signatures to such targets can be read on the way"
    return doubtful("http-targets", "allowed", why, "set COUNTWHEEL_ALLOW_HTTP_TARGETS to false, or keep them inside")


def _of_networks(networks: Sequence[_Network]) -> Finding:
    remedy = (
        "take them out of COUNTWHEEL_ALLOWED_NETWORKS, or let named hosts alone be called (COUNTWHEEL_ALLOWED_HOSTS)"
    )
    if opened := _overlapping(networks, _METADATA):
        why = "whoever may create jobs can have the cloud's metadata service called, which gives credentials"
        return unsafe("allowed-networks", opened, why, remedy)
    if opened := _overlapping(networks, _LOOPBACK):
        why = "whoever may create jobs can call what listens on the nodes themselves"
        return unsafe("allowed-networks", opened, why, remedy)
    if opened := _overlapping(networks, _PRIVATE):
        why = "whoever may create jobs can call what listens there"
        return doubtful("allowed-networks", opened, why, remedy)
    return good("allowed-networks", ", ".join(map(str, networks)) or "none")


def _of_token_lifetime(seconds: int) -> Finding:
    seen = f"{seconds} s"
    if seconds <= _LONG_TOKEN_SECONDS:
        return good("token-lifetime", seen)
    why = "a token that leaks is good for as long, unless its client is revoked"
    return doubtful("token-lifetime", seen, why, "set COUNTWHEEL_TOKEN_LIFETIME_SECONDS to 3600")


def _of_origins(origins: Sequence[str]) -> Finding:
    plain = [origin for origin in origins if origin.startswith("http://")]
    if not plain:
        return good("cors-origins", ", ".join(origins) or "none")
    seen = ", ".join(plain)
    why = "whoever is on the way can change such a page, and have it call the API with its user's token"
    remedy = "give https origins in COUNTWHEEL_CORS_ORIGINS"
    if all(_is_loopback(origin.removeprefix("http://").rpartition(":")[0] or origin[7:]) for origin in plain):
        return doubtful("cors-origins", seen, "whatever runs on that port of a user's machine may call the API", remedy)
    return unsafe("cors-origins", seen, why, remedy)


def _without_userinfo(url: str) -> str:
    """Return a URL as it may be printed: nothing before an `@`."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]


def _overlapping(networks: Sequence[_Network], others: Sequence[_Network]) -> str:
    found = [
        network for network in networks
        if any(network.version == other.version and network.overlaps(other) for other in others)
    ]  # fmt: skip
    return ", ".join(map(str, found))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
