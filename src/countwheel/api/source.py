"""Where a request comes from: as the connection has it, or as a proxy tells that is trusted to.

A header can be written by anybody. `X-Forwarded-For` and `X-Forwarded-Proto` are read only where the peer itself is one
of the configured proxies, and then from the right, which is the end that our own proxies write. `Forwarded` (RFC 7239),
`X-Real-IP` and the like are never read.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_WITH_PORT = re.compile(r"\[(?P<six>[0-9a-fA-F:.]+)\](?::\d{1,5})?|(?P<four>\d+\.\d+\.\d+\.\d+):\d{1,5}", re.ASCII)


def source_ip(scope: Mapping[str, Any], trusted: Networks) -> Address | None:
    """Return the address that a request (an ASGI scope) comes from; None where the peer has none (a Unix socket).

    Behind trusted proxies it is the rightmost address of `X-Forwarded-For` that is none of theirs; the peer's where
    that cannot be read. An IPv4 address is one in whatever spelling.
    """
    peer = _peer(scope)
    if peer is None or not _is_within(peer, trusted):
        return peer
    found = peer
    for entry in reversed(_values(scope, b"x-forwarded-for")):
        address = _address(entry)
        if address is None:
            return peer
        found = address
        if not _is_within(address, trusted):
            break
    return found


def is_secure(scope: Mapping[str, Any], trusted: Networks) -> bool:
    """Whether a request came over TLS: to us, or to a trusted proxy that says so in `X-Forwarded-Proto`."""
    if scope.get("scheme") == "https":
        return True
    peer = _peer(scope) if trusted else None
    if peer is None or not _is_within(peer, trusted):
        return False
    return _values(scope, b"x-forwarded-proto")[-1:] == ["https"]


def _peer(scope: Mapping[str, Any]) -> Address | None:
    client = scope.get("client")
    return _address(str(client[0])) if client else None


def _values(scope: Mapping[str, Any], header: bytes) -> list[str]:
    """Return the parts of a list header, given once or several times (RFC 9110, section 5.3)."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
    return [part.strip() for value in values for part in value.split(",")]


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    """Return an address, which some proxies write with a port. A zone (`%eth0`) says nothing to others."""
    if match := _WITH_PORT.fullmatch(text):
        text = match["six"] or match["four"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
