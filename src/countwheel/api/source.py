"""Where a request comes from."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope


def source_ip(scope: Scope) -> IPv4Address | IPv6Address | None:
    """Return the address of whoever sent a request."""
    client = scope.get("client")
    return None if client is None else ip_address(client[0])
