"""The networks that no call may go to, each with its reason, as data (criterion W6).

Kept by hand from IANA's special-purpose registries (IPv4 and IPv6), the IPv6 address space registry, and what clouds
are known to answer on. AS112, AMT and 6bone are public by their registries, and no target is there.
`ipaddress.is_global` says yes to much of it. The first network that an address lies in gives the reason, so what is
narrow stands before what is wide.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

BLOCKED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "this host on this network"),
        ("10.0.0.0/8", "private use"),
        ("100.100.100.200/32", "cloud metadata (Alibaba)"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata (Azure)"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private use"),
        ("192.0.0.192/32", "cloud metadata (Oracle)"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112 service"),
        ("192.52.193.0/24", "AMT relays"),
        ("192.88.99.0/24", "6to4 relays, deprecated"),
        ("192.168.0.0/16", "private use"),
        ("192.175.48.0/24", "AS112 service"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible, deprecated"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64, local use"),
        ("100::/64", "discard only"),
        ("100:0:0:1::/64", "dummy prefix"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001:10::/28", "ORCHID, deprecated"),
        ("2001:20::/28", "ORCHIDv2"),
        ("2001:30::/28", "drone remote identification"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112 service"),
        ("3ffe::/16", "6bone, returned"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fd00:ec2::254/128", "cloud metadata (AWS)"),
        ("fd20:ce::254/128", "cloud metadata (Google)"),
        ("fc00::/7", "private use"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local, deprecated"),
        ("ff00::/8", "multicast"),
        # Global unicast is 2000::/3 and nothing else.
        ("::/3", "not global unicast"),
        ("4000::/2", "not global unicast"),
        ("8000::/1", "not global unicast"),
    )
)
"""Networks and reasons. `::ffff:0:0/96` is not among them: such an address is judged as the IPv4 address in it."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_NAT64 = (IPv6Network("64:ff9b::/96"), _NAT64_LOCAL)
_NAT64_BITS = 96


def unmapped(network: Network) -> Network:
    """Return an IPv4 network for one that is written as IPv4-mapped IPv6, any other as it is."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def lets_through(allowed: Network, address: IPv4Address | IPv6Address) -> bool:
    """Whether a network that an operator allows lets an address through.

    Where in an address of local NAT64 the IPv4 address stands depends on the length of the translator's prefix (RFC
    6052). A network wider than /96 does not tell it, so it lets none of them through: read at the wrong place, an
    address of an inner network would look public.
    """
    return address in allowed and (address not in _NAT64_LOCAL or allowed.prefixlen >= _NAT64_BITS)


def embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address end at, where it is one of a translation mechanism."""
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.sixtofour
