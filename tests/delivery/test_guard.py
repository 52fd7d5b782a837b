"""W5, W6 and W7: where calls may go."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.delivery.guard import Guard

STRICT = Guard((), allow_http=False)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_w6_what_is_not_globally_routable_is_blocked(address: str) -> None:
    """W6: private, loopback, link-local, multicast, transition mechanisms, metadata: each with its reason."""
    refusal = STRICT.refusal(ip_address(address))
    assert refusal is not None
    assert "is refused" in refusal


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
    ],
)
def test_w6_the_public_internet_is_open(address: str) -> None:
    """W6: neighbours of blocked networks too."""
    assert STRICT.refusal(ip_address(address)) is None


@pytest.mark.parametrize(
    "spelling", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.0.1", "①②⑦.⓪.⓪.①", "0"]
)
def test_w7_every_spelling_of_an_address_is_judged_by_what_it_means(spelling: str) -> None:
    """W7: what getaddrinfo makes of it is what counts."""
    try:
        found = socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return  # this resolver takes it for a name that does not exist: it cannot be reached at all
    assert all(STRICT.refusal(ip_address(address[0])) is not None for *_, address in found)


@given(st.ip_addresses(v=4))
def test_w6_a_mapped_address_is_judged_by_its_inner_one(address) -> None:
    """W6: ::ffff:a.b.c.d is a.b.c.d."""
    mapped = ip_address(f"::ffff:{address}")
    assert (STRICT.refusal(mapped) is None) == (STRICT.refusal(address) is None)


def test_w6_an_operator_may_let_networks_through() -> None:
    """W6: the allow-list wins, for its networks alone; a mapped address counts as its inner one."""
    guard = Guard((ip_network("10.1.0.0/16"), ip_network("fd00::/8")), allow_http=False)
    for allowed in ("10.1.2.3", "fd12::1", "::ffff:10.1.2.3"):
        assert guard.refusal(ip_address(allowed)) is None
    for blocked in ("10.2.0.1", "127.0.0.1", "fc00::1"):
        assert guard.refusal(ip_address(blocked)) is not None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://example.com/", "https"),
        ("https://user@example.com/", "user name"),
        ("https://127.0.0.1/", "loopback"),
        ("https://[::1]/", "loopback"),
        ("https://169.254.169.254/latest/meta-data", "metadata"),
    ],
)
def test_a_url_is_refused_by_what_its_text_tells(url: str, word: str) -> None:
    """At creation already, with what to do about it."""
    refusal = STRICT.url_refusal(url)
    assert refusal is not None
    assert word in refusal


def test_plain_http_is_a_setting() -> None:
    """Development lets it through, production only where it is configured."""
    assert Guard((), allow_http=True).url_refusal("http://example.com/") is None
    assert STRICT.url_refusal("https://example.com/") is None
