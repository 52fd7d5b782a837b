"""W6 and W7: every blocked network, at both ends and between, in every spelling, and the operator's own lists."""

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest

from countwheel.delivery.guard import Guard, Hosts
from countwheel.delivery.networks import BLOCKED
from countwheel.domain.attempt import MAX_TRACE_CHARACTERS, Trace

STRICT = Guard((), allow_http=False)
PLACES = [(network, at) for network, _ in BLOCKED for at in (0, network.num_addresses // 2, network.num_addresses - 1)]
IPV4 = [network[at] for network, at in PLACES if isinstance(network, IPv4Network)]


@pytest.mark.parametrize(("network", "at"), PLACES, ids=str)
def test_w6_a_network_is_blocked_from_end_to_end(network, at) -> None:
    """W6: first, middle and last address."""
    assert STRICT.refusal(network[at]) is not None


def spellings(address: IPv4Address) -> list[str]:
    number = int(address)
    a, b, c, d = address.packed
    return [
        str(address), f"{address}.", str(number), hex(number), f"0{number:o}", f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"[::ffff:{address}]", f"[64:ff9b::{address}]", f"[::{address}]", f"[64:ff9b:1::{address}]",
    ]  # fmt: skip


@pytest.mark.parametrize("address", IPV4, ids=str)
def test_w7_every_spelling_is_refused_by_its_text(address: IPv4Address) -> None:
    """W7: decimal, octal, hexadecimal, short, mapped, translated: at the create already."""
    for host in spellings(address):
        assert STRICT.url_refusal(f"https://{host}/") is not None, host


def test_what_is_denied_stays_denied() -> None:
    """A denied network wins over an allowed one, mapped or translated too; NAT64 lets nothing private through."""
    guard = Guard(
        (ip_network("10.0.0.0/8"), ip_network("64:ff9b::/96")), allow_http=False, denied=(ip_network("10.1.0.0/16"),)
    )
    assert guard.refusal(ip_address("10.2.0.1")) is None
    assert guard.refusal(ip_address("64:ff9b::808:808")) is None
    for address in ("10.1.0.1", "::ffff:10.1.0.1", "64:ff9b::10.1.0.1", "64:ff9b::127.0.0.1"):
        assert guard.refusal(ip_address(address)) is not None


def test_local_nat64_is_let_through_only_where_its_prefix_tells_what_is_behind_it() -> None:
    """RFC 6052: under a /48 the inner address 10.0.0.1 stands before the last 32 bits, which may look public."""
    inner_of_48 = ip_address("64:ff9b:1:a00:0:100:808:808")
    assert Guard((ip_network("64:ff9b:1::/48"),), allow_http=False).refusal(inner_of_48) is not None
    assert Guard((ip_network("::/0"),), allow_http=False).refusal(inner_of_48) is not None
    guard = Guard((ip_network("64:ff9b:1:1::/96"),), allow_http=False)
    assert guard.refusal(ip_address("64:ff9b:1:1::8.8.8.8")) is None
    assert guard.refusal(ip_address("64:ff9b:1:1::10.0.0.1")) is not None


REGISTERED = """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
    192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
    240.0.0.0/4 255.255.255.255/32
    ::1/128 ::/128 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128
    2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32
    2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
"""
"""IANA's special-purpose registries, line by line; ::ffff:0:0/96 alone is judged by the address in it."""

BESIDE_THEM = """
    224.0.0.0/4 ::/96 ::ffff:0:0:0/96 fec0::/10 ff00::/8 3ffe::/16 400::/6 1000::/4 4000::/3 6000::/3 8000::/3 a000::/3
    c000::/3 e000::/4 f000::/5 f800::/6 fe00::/9
    100.100.100.200/32 168.63.129.16/32 169.254.169.254/32 169.254.170.2/32 192.0.0.192/32 fd00:ec2::254/128
    fd00:ec2::23/128 fd20:ce::254/128
"""
"""Multicast, what is deprecated or returned, what is not allocated, and where clouds answer."""


@pytest.mark.parametrize("text", (REGISTERED + BESIDE_THEM).split())
def test_w6_what_is_registered_is_blocked(text: str) -> None:
    """W6: by a list that is kept apart from the one that blocks: an entry that goes missing there is missed here."""
    network = ip_network(text)
    assert all(STRICT.refusal(network[at]) is not None for at in (0, network.num_addresses // 2, -1))


NEIGHBOURS = "2001:200::1 2001:db7::1 2001:db9::1 2003::1 2400::1 2610::1 2620:4e::1 2a00::1 2c00::1 3ffd::1"


@pytest.mark.parametrize("address", NEIGHBOURS.split())
def test_w6_neighbours_on_ipv6_are_open(address: str) -> None:
    """W6: what lies right beside a blocked network is public."""
    assert STRICT.refusal(ip_address(address)) is None


def test_hosts_are_allowed_and_denied_by_name() -> None:
    """Only the names of an allowed list, never those of a denied one."""
    hosts = Hosts(("example.com", "*.example.com"), ("bad.example.com",))
    guard = Guard((), allow_http=False, hosts=hosts)
    assert guard.url_refusal("https://API.example.com./x") is None
    for host in ("bad.example.com", "example.org", "8.8.8.8", "notexample.com"):
        assert guard.url_refusal(f"https://{host}/") is not None


def test_a_host_is_denied_in_every_spelling_of_its_address() -> None:
    """Short, decimal, and as IPv6 that carries it: what is denied is the address."""
    guard = Guard((), allow_http=False, hosts=Hosts(denied=("8.8.8.8",)))
    for host in ("8.8.8.8", "8.8.2056", "134744072", "[::ffff:8.8.8.8]", "[::ffff:808:808]"):
        assert guard.url_refusal(f"https://{host}/") is not None, host
    assert guard.url_refusal("https://8.8.4.4/") is None


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
def test_our_own_listener_is_never_called(bound: str) -> None:
    """At our own port, whatever network is allowed; another port of the same address is."""
    guard = Guard((ip_network("127.0.0.0/8"),), allow_http=True, listening=(bound, 8080))
    assert guard.url_refusal("http://127.0.0.1:8080/") is not None
    assert guard.url_refusal("http://127.0.0.1:8081/") is None


def test_a_trace_is_stored_as_text() -> None:
    """What was encoded is decoded, within the bound."""
    for trace in (Trace(), Trace("2001:db8::1", 443, reused=True, dns_ms=0.123, total_ms=1_800_000.5)):
        assert Trace.decode(trace.encode()) == trace
        assert len(trace.encode()) <= MAX_TRACE_CHARACTERS
