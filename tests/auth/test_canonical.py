"""A1: the canonical form: what AWS computes, what botocore computes, and its laws."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signers import KEY_ID, SECRET, signed, verify

from countwheel.auth.canonical import canonical_paths, canonical_queries, canonical_requests, canonical_value
from countwheel.auth.sigv4 import REFUSED, Claim, SignatureError, signatures

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("line", "scope", "headers", "expected"),
    [
        (
            "GET / Action=ListUsers&Version=2010-05-08",
            "iam at iam.amazonaws.com",
            FORM,
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
        (
            "GET / ",
            "service at example.amazonaws.com",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET / Param2=value2&Param1=value1",
            "service at example.amazonaws.com",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST / ",
            "service at example.amazonaws.com",
            {},
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET / ",
            "service at example.amazonaws.com",
            {"my-header1": " value1", "my-header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
)
def test_a1_signatures_that_amazon_published(line: str, scope: str, headers: dict[str, str], expected: str) -> None:
    """A1: of the documentation (ListUsers) and of the test suite (get-vanilla and others)."""
    method, path, query = line.split(" ")
    service, _, host = scope.partition(" at ")
    whole = headers | {"host": host, "x-amz-date": "20150830T123600Z"}
    names = tuple(sorted(whole))
    found = {name.encode(): [value.encode()] for name, value in whole.items()}
    nothing = hashlib.sha256(b"").hexdigest()
    form, *_ = canonical_requests(method, path.encode(), query.encode(), found, signed_headers=names, body_hash=nothing)
    claim = Claim("AKIDEXAMPLE", "20150830", "us-east-1", datetime(2015, 8, 30, 12, 36, tzinfo=UTC), names, "")
    assert signatures([form], claim, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", service) == [expected]


@pytest.mark.parametrize(
    ("query", "forms"),
    [
        (b"", [b""]),
        (b"a=1&b=2", [b"a=1&b=2"]),
        (b"b=2&a=1", [b"a=1&b=2", b"b=2&a=1"]),
        (b"a=2&a=1&a", [b"a=&a=1&a=2", b"a=2&a=1&a"]),
        (b"a=x+y", [b"a=x+y", b"a=x%20y"]),
        (b"a=x%2By", [b"a=x%2By"]),
        (b"a=%c3%a9", [b"a=%c3%a9"]),
        (b"at=10:00&a=b=c", [b"a=b=c&at=10:00", b"a=b%3Dc&at=10%3A00", b"at=10:00&a=b=c"]),
    ],
)
def test_a1_the_forms_of_a_query(query: bytes, forms: list[bytes]) -> None:
    """A1: sorted as sent; decoded, encoded and sorted; as sent. A plus is a space only where it is decoded."""
    assert canonical_queries(query) == forms


@pytest.mark.parametrize(
    ("path", "forms"),
    [
        (b"", [b"/"]),
        (b"/v1/jobs/~a_b.c-d/", [b"/v1/jobs/~a_b.c-d/"]),
        (b"/v1/jobs:run", [b"/v1/jobs%3Arun", b"/v1/jobs:run"]),
        (b"/a%20b", [b"/a%2520b"]),
        (b"/a%2520b", [b"/a%252520b"]),
    ],
)
def test_a1_the_forms_of_a_path(path: bytes, forms: list[bytes]) -> None:
    """A1: encoded again, and as sent where that cannot be the encoded form of another path."""
    assert canonical_paths(path) == forms


queries = st.text("ab+%&=2fF0:é", max_size=12).map(lambda text: quote(text, safe="+%&=:").encode())
paths = st.text("ab%2f0:é/~", max_size=10).map(lambda text: quote("/" + text, safe="%:/").encode())


def meaning(query: bytes) -> list[tuple[str, str]]:
    """What a query says, as the API reads it: pairs in any order, nothing between two `&`."""
    pairs = parse_qsl(query.decode(), keep_blank_values=True, encoding="latin-1")
    return sorted(pair for pair in pairs if pair != ("", ""))


@given(queries)
def test_a1_every_form_of_a_query_means_what_the_query_means(query: bytes) -> None:
    """A1: so a signature made for one query never passes for one that says something else."""
    forms = canonical_queries(query)
    assert 1 <= len(forms) == len(set(forms)) <= 3
    assert {tuple(meaning(form)) for form in forms} == {tuple(meaning(query))}


@given(paths)
def test_a1_every_form_of_a_path_decodes_to_the_path(path: bytes) -> None:
    """A1: so a signature made for one path never passes for another."""
    assert {unquote_to_bytes(form) for form in canonical_paths(path)} == {path}


@given(st.lists(st.tuples(st.text("ab%20é", max_size=4), st.text("ab%20é", max_size=4)), max_size=6), st.randoms())
def test_a1_the_order_of_a_query_does_not_matter(pairs: list[tuple[str, str]], chance) -> None:
    """A1: sorted by encoded name, then by value: any order of the same pairs has the same first form, in order."""
    parts = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs]
    first = canonical_queries("&".join(parts).encode())[0]
    chance.shuffle(parts)
    assert canonical_queries("&".join(parts).encode())[0] == first
    encoded = [tuple(part.split("=")) for part in first.decode().split("&")] if first else []
    assert encoded == sorted(encoded)


@given(st.lists(st.text(' \tab,"é', max_size=10).map(str.encode), min_size=1, max_size=4))
def test_a1_folding_a_folded_header_changes_nothing(values: list[bytes]) -> None:
    """A1: trimmed, single spaces within, repeated headers as one with commas; twice is once."""
    once = canonical_value(values)
    assert canonical_value([once]) == once
    assert canonical_value([b" \t" + value.replace(b" ", b" \t ") for value in values]) == once
    assert b"  " not in once
    assert b"\t" not in once
    assert once == once.strip()


segments = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(
    lambda text: not set("/.\\") & set(text)
)
names = st.text("abXYé -_.~+&=%/:", max_size=6)


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    st.lists(segments, max_size=3),
    st.lists(st.tuples(names, names), max_size=4),
    st.lists(st.tuples(st.sampled_from(["x-a", "x-b", "idempotency-key"]), st.text(' ab"', max_size=8)), max_size=4),
    st.binary(max_size=40),
)
def test_a1_what_botocore_signs_is_accepted_and_nothing_else(method, path, query, headers, body) -> None:
    """A1: verify(sign(x)) holds, with botocore as the signer; another body or secret does not."""
    target = "/" + "/".join(quote(segment, safe="") for segment in path)
    if query:
        target += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = signed(method, target, headers=headers, body=body)
    assert verify(request).access_key_id == KEY_ID
    for attacked, secret in ((replace(request, body=body + b" "), SECRET), (request, SECRET.upper())):
        with pytest.raises(SignatureError, match=re.escape(REFUSED)):
            verify(attacked, secret=secret)
