"""Targets, as far as their text tells."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.target import (
    MAX_HOST_CHARACTERS,
    MAX_URL_CHARACTERS,
    TARGET_NAME_PATTERN,
    TARGET_PATTERN,
    target_fault,
    target_host,
    target_name,
)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/hook", "example.com"),
        ("HTTPS://EXAMPLE.com", "example.com"),
        ("http://example.com.:8080/a?b=c%20d", "example.com"),
        ("https://[2001:DB8::1]/x", "2001:db8::1"),
        ("http://127.1/", "127.1"),
        ("http://a_b.internal:65535/?", "a_b.internal"),
    ],
)
def test_a_target_and_its_host(url: str, host: str) -> None:
    """A URL is taken as it is written; its host is compared in lower case without port, brackets and final dot."""
    assert target_fault(url) is None
    assert target_host(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:x/",
        "https://example.com/#fragment",
        "https://exam ple.com/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/\x00",
        "https://exämple.com/",
        "https://example.com/ä",
        "https://[::1",
        "https://[::1%25eth0]/",
        "https://[1:2:3:4:5:6:7:8:9]/",
        "https://-a.com/",
        "https://a..b/",
        "https://example.com\\@evil.com/",
        "https://" + "a" * 2048,
        "https://" + ".".join(["a" * 63] * 4) + "/",
    ],
)
def test_what_is_no_target_is_refused(url: str) -> None:
    """User names, fragments, white space, other schemes and what a URL parser could read in two ways."""
    assert target_fault(url) is not None


def is_short_enough(url: str) -> bool:
    return len(url) <= MAX_URL_CHARACTERS and len(target_host(url)) <= MAX_HOST_CHARACTERS


@given(st.from_regex(TARGET_PATTERN, fullmatch=True).filter(is_short_enough))
def test_what_the_contract_says_is_a_target_has_a_host(url: str) -> None:
    """Whatever fits the contract's pattern, and is short enough, is accepted and has a host."""
    assert target_fault(url) is None
    assert target_host(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://API.example.com/x", "api.example.com"),
        ("https://api.example.com:443/x", "api.example.com"),
        ("http://api.example.com:80", "api.example.com"),
        ("http://api.example.com:443", "api.example.com:443"),
        ("https://api.example.com.:8443/x", "api.example.com:8443"),
        ("https://[2001:DB8::1]/", "[2001:db8::1]"),
        ("https://[2001:db8:0::1]:81/", "[2001:db8::1]:81"),
    ],
)
def test_a_target_is_named_after_its_host_or_its_flow(url: str, name: str) -> None:
    """In lower case, with its port where that is not the scheme's own; a flow goes before that."""
    assert target_name(url, None) == name
    assert target_name(url, "Partner") == "Partner"
    assert re.fullmatch(TARGET_NAME_PATTERN, name)
    assert len(target_name("https://" + ".".join(["x" * 63] * 20), None)) == 255
