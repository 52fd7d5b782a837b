"""Where a request comes from: a header is believed from a proxy that is trusted, and from nobody else."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.api.source import is_secure, source_ip
from countwheel.config import SettingError, read_settings
from harness import running_node

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def scope(peer: str | None, *forwarded: str, scheme: str = "http", **others: str):
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in others.items()]
    return {"client": (peer, 1234) if peer else None, "scheme": scheme, "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7,10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["<script>, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, "], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, 10.1.1.1, 300.1.1.1"], "10.0.0.1"),
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, ::ffff:10.2.2.2"], "203.0.113.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["\u0661.1.1.1"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.07"], "10.0.0.1"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_the_source_is_the_first_address_that_is_no_proxy_of_ours(peer, forwarded, expected) -> None:
    """From the right, which is the end that our own proxies write; what cannot be read falls back to the peer."""
    encoded = [value.encode().decode("latin-1") for value in forwarded]
    assert source_ip(scope(peer, *encoded), TRUSTED) == ip_address(expected)


def test_a_connection_without_an_address_has_no_source() -> None:
    """A Unix socket: no peer, no header believed."""
    assert source_ip(scope(None, "203.0.113.7"), TRUSTED) is None
    assert source_ip(scope("", "203.0.113.7"), TRUSTED) is None


@given(st.text(alphabet=st.characters(max_codepoint=255)), st.sampled_from(["203.0.113.9", "2001:db8::1"]))
def test_whatever_others_write_is_not_believed(value: str, peer: str) -> None:
    """LAW: without a trusted peer no header changes the source, nor with no proxy configured."""
    assert source_ip(scope(peer, value), TRUSTED) == ip_address(peer)
    assert source_ip(scope("10.0.0.1", value), ()) == ip_address("10.0.0.1")


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_what_a_client_writes_before_the_proxy_does_not_change_what_the_proxy_wrote(value: str) -> None:
    """LAW: a prefix of any form is passed over."""
    assert source_ip(scope("10.0.0.1", value, "203.0.113.7"), TRUSTED) == IPv4Address("203.0.113.7")
    assert source_ip(scope("10.0.0.1", f"{value},203.0.113.7"), TRUSTED) == IPv4Address("203.0.113.7")


def test_other_headers_are_never_read() -> None:
    """Forwarded, X-Real-IP and the like come through many proxies as the client wrote them."""
    others = {"forwarded": "for=198.51.100.1", "x_real_ip": "198.51.100.1", "cf_connecting_ip": "198.51.100.1"}
    assert source_ip(scope("10.0.0.1", **others), TRUSTED) == IPv4Address("10.0.0.1")


@pytest.mark.parametrize(
    ("peer", "scheme", "told", "expected"),
    [
        ("203.0.113.9", "https", [], True),
        ("203.0.113.9", "http", ["https"], False),
        ("10.0.0.1", "http", ["https"], True),
        ("10.0.0.1", "http", ["https, http"], False),
        ("10.0.0.1", "http", ["http, https"], True),
        ("10.0.0.1", "http", ["http", "https"], True),
        ("10.0.0.1", "http", [], False),
        (None, "http", ["https"], False),
    ],
)
def test_only_a_trusted_proxy_says_that_it_spoke_tls(peer, scheme, told, expected) -> None:
    """X-Forwarded-Proto, and of several the one that the nearest proxy wrote."""
    asked = scope(peer, scheme=scheme)
    asked["headers"] += [(b"x-forwarded-proto", value.encode()) for value in told]
    assert is_secure(asked, TRUSTED) is expected


async def test_behind_a_trusted_proxy_answers_bear_hsts(dsn: str) -> None:
    """And without one configured they do not, whatever the header says."""
    told = {"X-Forwarded-Proto": "https"}
    async with running_node(dsn, trusted_proxies=(ip_network("127.0.0.0/8"),)) as node:
        assert "Strict-Transport-Security" in (await node.api.call("GET", "/livez", headers=told)).headers
        assert "Strict-Transport-Security" not in (await node.api.call("GET", "/livez")).headers
    async with running_node(dsn) as node:
        assert "Strict-Transport-Security" not in (await node.api.call("GET", "/livez", headers=told)).headers


def test_trusted_proxies_are_networks() -> None:
    """CIDRs, none by default."""
    assert read_settings({}, development=False).trusted_proxies == ()
    given_ = {"COUNTWHEEL_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
    assert read_settings(given_, development=False).trusted_proxies == TRUSTED
    with pytest.raises(SettingError, match="COUNTWHEEL_TRUSTED_PROXIES: .*give CIDRs"):
        read_settings({"COUNTWHEEL_TRUSTED_PROXIES": "proxy.example.com"}, development=False)
