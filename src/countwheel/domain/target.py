"""Targets: the URLs that may be called, as far as their text tells. Who they resolve to is the guard's question."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

from countwheel.domain.errors import Fault

MAX_URL_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253
"""As long as a name of the DNS can be (RFC 1035, without the final dot)."""

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,20}}\.?"
_H16 = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"(?:{_H16}:){{7}}{_H16}",
        *(f"(?:{_H16}:){{{left}}}(?::{_H16}){{1,{7 - left}}}" for left in range(1, 7)),
        f":(?::{_H16}){{1,7}}",
        f"(?:{_H16}:){{1,7}}:",
        "::",
    ]
)
_PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_PATH = r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*"

TARGET_PATTERN = rf"^[hH][tT][tT][pP][sS]?://(?:{_HOST}|\[(?:{_IPV6})\])(?::{_PORT})?(?:[/?]{_PATH})?$"
"""What the contract says a target looks like: http or https, no user name, no fragment."""

_MATCHER = re.compile(TARGET_PATTERN, re.ASCII)

TargetRefusal = Callable[[str], str | None]
"""Says why a URL may not be called from this deployment, as far as its text tells, or None."""


@lru_cache(maxsize=4096)
def target_fault(url: str) -> str | None:
    """Return what is wrong with a URL as a target, or None."""
    if len(url) > MAX_URL_CHARACTERS:
        return f"longer than {MAX_URL_CHARACTERS} characters"
    if _MATCHER.fullmatch(url) is None:
        return "not a URL to call: give http:// or https://, a host, and no user name, fragment or space"
    if len(target_host(url)) > MAX_HOST_CHARACTERS:
        return f"its host is longer than {MAX_HOST_CHARACTERS} characters: no name of the DNS is"
    return None


def find_target_faults(body: Mapping[str, Any], fields: Iterable[str], refusal: TargetRefusal) -> Iterator[Fault]:
    """Yield what is wrong with the targets that a body names in `fields`, whatever shape it has."""
    for field in fields:
        url = body.get(field)
        if isinstance(url, str) and (why := target_fault(url) or refusal(url)):
            yield Fault(f"#/{field}", why)


@lru_cache(maxsize=4096)
def target_host(url: str) -> str:
    """Return the host of a valid target in lower case, without port, brackets and final dot."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return str(IPv6Address(host)) if ":" in host else host


def recorded_host(host: str) -> str:
    """Return a host as records have it. A job from before hosts had a limit may have a longer one."""
    return host[:MAX_HOST_CHARACTERS]


_MAX_NAME_CHARACTERS = 255
"""As long as the token of a page may be: the longest names of the DNS (253 characters) lose their port."""

TARGET_NAME_PATTERN = r"^[A-Za-z0-9_\[][A-Za-z0-9._:\[\]-]{0,254}$"
"""What the contract says a target is called: a flow, or a host, with its port where that is not the scheme's own."""

_USUAL_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=4096)
def target_name(url: str, flow: str | None) -> str:
    """Return the name under which calls to a valid target are paced: the flow if there is one, or the host.

    A port that is not the scheme's own is part of the name: behind it is another server (decision 0017).
    """
    if flow is not None:
        return flow
    parts, host = urlsplit(url), target_host(url)
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    name = host if port is None or port == _USUAL_PORTS[parts.scheme.lower()] else f"{host}:{port}"
    return name[:_MAX_NAME_CHARACTERS]
