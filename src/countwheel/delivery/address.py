"""Addresses, and the spellings of them that a URL can hold."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AI_NUMERICHOST, SOCK_STREAM, getaddrinfo

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=4096)
def literal_address(host: str) -> Address | None:
    """Return the address that a host is a spelling of, or None for a name.

    Every spelling that `getaddrinfo` takes counts (criterion W7): `0x7f.1`, `2130706433`, `127.1`. Nobody is asked.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        found = getaddrinfo(host, None, type=SOCK_STREAM, flags=AI_NUMERICHOST)
    except (OSError, ValueError):
        return None
    return ip_address(found[0][4][0])
