"""The guard against server-side request forgery: which targets may be called.

Judged is the address that a name resolves to, in every spelling that the resolver accepts, at every attempt. Names are
judged beside that, by the operator's lists. What is denied stays denied; what is allowed wins over the block list
(`countwheel.delivery.networks`); what this node listens on is never called.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from countwheel.delivery.address import Address, literal_address
from countwheel.delivery.networks import BLOCKED, Network, embedded, lets_through, unmapped


@dataclass(frozen=True, slots=True)
class Hosts:
    """An operator's lists of hosts: names, or `*.example.com` for every name below one. A denied host stays denied."""

    allowed: tuple[str, ...] = ()
    """Only these may be called; none given means any."""
    denied: tuple[str, ...] = ()

    def refusal(self, *spellings: str) -> str | None:
        """Return why a host is refused, or None. `spellings` are what it is called: as written, and as an address."""
        for host in spellings:
            if _is_listed(host, self.denied):
                return f"{host} is refused: COUNTWHEEL_DENIED_HOSTS names it"
        if self.allowed and not any(_is_listed(host, self.allowed) for host in spellings):
            return f"{spellings[0]} is refused: COUNTWHEEL_ALLOWED_HOSTS does not name it"
        return None


class Guard:
    """Says where calls may go."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        allow_http: bool,
        denied: Sequence[Network] = (),
        hosts: Hosts | None = None,
        listening: tuple[str, int] | None = None,
    ) -> None:
        """`allowed` networks win over the block list, `denied` ones over both; `allow_http` lets plain http through;
        `listening` is the address and port of our own API, which no call may go to.
        """
        self._allowed = tuple(map(unmapped, allowed))
        self._denied = tuple(map(unmapped, denied))
        self._allow_http = allow_http
        self._hosts = hosts or Hosts()
        self._own_address = ip_address(listening[0]) if listening else None
        self._own_port = listening[1] if listening else None
        # Pure functions of their argument, asked again for every call to the same target.
        self._network_refusal = lru_cache(maxsize=4096)(self._judge_network)
        self._text_refusal = lru_cache(maxsize=4096)(self._judge_text)

    def url_refusal(self, url: str) -> str | None:
        """Return why a URL is refused as far as its text tells, or None. A name is judged when it is resolved."""
        refusal, address, port = self._text_refusal(url)
        return refusal or (self.refusal(address, port) if address is not None else None)

    def refusal(self, address: Address, port: int | None = None) -> str | None:
        """Return why an address is refused, or None."""
        if port is not None and port == self._own_port and self._is_own(address):
            return f"{address} port {port} is refused: Countwheel itself listens there"
        return self._network_refusal(address)

    def _judge_text(self, url: str) -> tuple[str | None, Address | None, int | None]:
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
            port = parts.port or (443 if scheme == "https" else 80)
        except ValueError as error:
            return f"not a URL to call: {error}", None, None
        if scheme == "http" and not self._allow_http:
            refusal = "plain http is not allowed here: give an https URL (COUNTWHEEL_ALLOW_HTTP_TARGETS=true allows it)"
            return refusal, None, None
        if parts.username is not None or parts.password is not None:
            return "a URL must not hold a user name or password", None, None
        address = literal_address(host)
        return self._hosts.refusal(*_spellings(host, address)), address, port

    def _judge_network(self, address: Address) -> str | None:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return self._network_refusal(address.ipv4_mapped)
        for network in self._denied:
            if address in network:
                return f"{address} is refused: COUNTWHEEL_DENIED_NETWORKS names {network}"
        inner = embedded(address) if isinstance(address, IPv6Address) else None
        if any(lets_through(network, address) for network in self._allowed):
            # What lets a way of translation through does not let through what lies behind it.
            return self._network_refusal(inner) if inner is not None else None
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return f"{address} is refused: it has a scope"
        for network, reason in BLOCKED:
            if address in network:
                return (
                    f"{address} is refused: {network} ({reason}); COUNTWHEEL_ALLOWED_NETWORKS can let a network through"
                )
        return None

    def _is_own(self, address: Address) -> bool:
        """Whether a connection to an address, at our own port, would end here."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_unspecified:
            return True  # as a destination that is this host
        if self._own_address is None or self._own_address.is_unspecified:
            return _is_of_this_machine(address)
        return address == self._own_address


def _is_of_this_machine(address: Address) -> bool:
    """Whether an address is one of this machine's, now: such a one is spoken to from itself. Nothing is sent."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False


def _spellings(host: str, address: Address | None) -> tuple[str, ...]:
    """Return what a host is called: as written, and where it is an address as that, and as the IPv4 address in it."""
    if address is None:
        return (host,)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (host, str(address)) if mapped is None else (host, str(address), str(mapped))


def _is_listed(host: str, patterns: Sequence[str]) -> bool:
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns)
