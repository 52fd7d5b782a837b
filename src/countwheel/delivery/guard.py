"""The guard against server-side request forgery: which addresses may be called.

Judged is the address that a name resolves to, in every spelling that the resolver accepts, never the name. The list is
ours: `ipaddress.is_global` says yes to much that matters (facts.md, traps in HTTP). An operator may let networks
through; what is let through wins.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

BLOCKED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments, cloud metadata"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, broadcast"),
        ("100.100.100.200/32", "cloud metadata"),
        ("168.63.129.16/32", "cloud metadata"),
        ("::/96", "unspecified, loopback, IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64, local use"),
        ("100::/64", "discard"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001:10::/28", "ORCHID"),
        ("2001:20::/28", "ORCHIDv2"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private, cloud metadata"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""Every network that no call may go to, with the reason (criterion W6)."""


class Guard:
    """Says where calls may go."""

    def __init__(self, allowed: Sequence[Network], *, allow_http: bool) -> None:
        """`allowed` networks win over the block list; `allow_http` lets plain http through."""
        self._allowed = tuple(allowed)
        self._allow_http = allow_http
        # Pure functions of their argument, asked again for every call to the same target.
        self.refusal = lru_cache(maxsize=4096)(self._refusal)
        self.url_refusal = lru_cache(maxsize=4096)(self._url_refusal)

    def _url_refusal(self, url: str) -> str | None:
        """Return why a URL is refused as far as its text tells, or None. A name is judged when it is resolved."""
        parts = urlsplit(url)
        if parts.scheme.lower() == "http" and not self._allow_http:
            return "plain http is not allowed here: give an https URL (COUNTWHEEL_ALLOW_HTTP_TARGETS=true allows it)"
        if parts.username is not None or parts.password is not None:
            return "a URL must not hold a user name or password"
        try:
            address = ip_address(parts.hostname or "")
        except ValueError:
            return None
        return self.refusal(address)

    def _refusal(self, address: Address) -> str | None:
        """Return why an address is refused, or None."""
        if any(address in network for network in self._allowed):
            return None
        if isinstance(address, IPv6Address):
            if address.ipv4_mapped is not None:
                return self.refusal(address.ipv4_mapped)
            if address.scope_id is not None:
                return f"{address} is refused: it has a scope"
        for network, reason in BLOCKED:
            if address in network:
                return (
                    f"{address} is refused: {network} ({reason}); COUNTWHEEL_ALLOWED_NETWORKS can let a network through"
                )
        return None
