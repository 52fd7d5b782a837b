"""A2 to A5: which signed requests are refused, and how."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from signers import KEY_ID, REGION, SECRET, header, signed, verify, with_headers

from countwheel.auth.canonical import canonical_requests
from countwheel.auth.sigv4 import (
    MAX_QUERY_PARAMETERS,
    MAX_SIGNED_BYTES,
    MAX_SIGNED_HEADERS,
    MAX_SKEW,
    MAX_TARGET_BYTES,
    REFUSED,
    AmbiguousPathError,
    SignatureError,
    WireRequest,
    check,
    read_claim,
    signatures,
)
from countwheel.clock import SystemClock

REFUSAL = f"^{re.escape(REFUSED)}$"
KEY = "Idempotency-Key"
WHOLE = {
    "method": "POST",
    "target": "/v1/jobs/%C3%A9t%C3%A9:run?b=2&a=x+y&a=%C3%A9%20z",
    "body": b'{"job_payload": {}}',
    "headers": [(KEY, '"k  1"'), ("X-Amz-Meta", "one"), ("Content-Type", "application/json")],
}


def test_the_request_that_is_attacked_below_is_right() -> None:
    """What the attacks start from is accepted, and says who signed what and when."""
    request = signed(**WHOLE)
    claim = verify(request)
    assert (claim.access_key_id, claim.region) == (KEY_ID, REGION)
    assert claim.signed_at.strftime("%Y%m%dT%H%M%SZ").encode() == header(request, b"x-amz-date")
    assert claim.signed_headers == ("content-type", "host", "idempotency-key", "x-amz-date", "x-amz-meta")
    assert claim.date == f"{claim.signed_at:%Y%m%d}"


def each_changed(data: bytes, *, bits_only: bool = False) -> Iterator[bytes]:
    """Every other value of each byte, or those that differ in one bit."""
    for place, byte in enumerate(data):
        for other in [byte ^ 1 << bit for bit in range(8)] if bits_only else range(256):
            if other != byte:
                yield data[:place] + bytes([other]) + data[place + 1 :]


@pytest.mark.parametrize("part", ["raw_path", "raw_query", "body"])
def test_a1_another_byte_in_path_query_or_body_is_refused(part: str) -> None:
    """A1: each byte of them, replaced by each of the 255 others."""
    request = signed(**WHOLE)
    claim, count = verify(request), 0
    for changed in each_changed(getattr(request, part)):
        count += 1
        with pytest.raises(SignatureError):
            check(replace(request, **{part: changed}), claim, SECRET)
    assert count == 255 * len(getattr(request, part))


@pytest.mark.parametrize("name", ["host", "idempotency-key", "x-amz-meta", "x-amz-date", "content-type"])
def test_a1_another_bit_in_a_signed_header_is_refused(name: str) -> None:
    """A1: each bit of each byte of the value, and of the name."""
    request = signed(**WHOLE)
    encoded, value = name.encode(), header(request, name.encode())
    changes = [(encoded, changed) for changed in each_changed(value, bits_only=True)]
    changes += [(changed, value) for changed in each_changed(encoded, bits_only=True)]
    for change in changes:
        headers = [change if found == encoded else (found, kept) for found, kept in request.headers]
        with pytest.raises(SignatureError):
            verify(replace(request, headers=headers))


def test_a1_another_bit_in_the_authorization_is_refused() -> None:
    """A1: scheme, scope, names and signature, and what stands between. (Another key id brings another secret.)"""
    request = signed(**WHOLE)
    value = header(request, b"authorization")
    key_id = range(value.index(KEY_ID.encode()), value.index(KEY_ID.encode()) + len(KEY_ID))
    scheme = range(len("AWS4-HMAC-SHA256"))
    for place in range(len(value)):
        for changed in each_changed(value[place : place + 1], bits_only=True):
            other = value[:place] + changed + value[place + 1 :]
            if place in key_id or (place in scheme and other.lower() == value.lower()):
                continue
            with pytest.raises(SignatureError):
                verify(with_headers(request, authorization=other))


@pytest.mark.parametrize("method", ["GET", "PUT", "post", "POST ", ""])
def test_a1_another_method_is_refused(method: str) -> None:
    """A1: the method is signed."""
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(replace(signed(**WHOLE), method=method))


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: [*headers, (b"x-amz-meta", b"two")],
        lambda headers: [(name, b"one,") if name == b"x-amz-meta" else (name, value) for name, value in headers],
        lambda headers: [(name, value) for name, value in headers if name != b"x-amz-meta"],
    ],
)
def test_a1_a_signed_header_more_or_less_is_refused(change: Callable[[list], list]) -> None:
    """A1: all values of a signed header are signed."""
    request = signed(**WHOLE)
    with pytest.raises(SignatureError):
        verify(replace(request, headers=change(request.headers)))


def test_a1_repeated_headers_are_joined_in_their_order() -> None:
    """A1: the same values in another order are another request."""
    request = signed(headers=[("X-Note", "b"), ("X-Note", " a  c ")])
    assert verify(request)
    turned = [(name, {b"b": b"a c", b" a  c ": b"b"}.get(value, value)) for name, value in request.headers]
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(replace(request, headers=turned))


def test_headers_that_are_not_signed_may_come() -> None:
    """Proxies and HTTP clients add some; a trace id of AWS's own tools is not of `x-amz-`."""
    request = signed()
    more = [(b"user-agent", b"x"), (b"x-amzn-trace-id", b"Root=1"), (b"content-type", b"text/plain")]
    assert verify(replace(request, headers=[*request.headers, *more]))


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/v1//jobs", "//"),
        ("//v1/jobs", "//"),
        ("/v1/jobs//", "//"),
        ("/v1/./jobs", "dots"),
        ("/v1/../jobs", "dots"),
        ("/v1/jobs/.", "dots"),
        ("/v1/jobs/..", "dots"),
        ("/..", "dots"),
        ("/v1/%2e%2e/jobs", "encoded dot"),
        ("/v1/.%2E/jobs", "encoded dot"),
        ("/v1/jobs/a%2Eb", "encoded dot"),
        ("/v1%2fjobs", "slash"),
        ("/v1/jobs/a%2Fb", "slash"),
        ("/v1/jobs\\a", "backslash"),
        ("/v1/jobs/a%5cb", "backslash"),
        ("/v1/jobs/a%5Cb", "backslash"),
        ("/v1/jobs/a\nb", "control"),
        ("/v1/jobs/a b", "space"),
        ("*", "before its first slash"),
        ("http://countwheel.example/v1/jobs", "before its first slash"),
        ("v1/jobs", "before its first slash"),
    ],
)
def test_a2_a_path_that_can_be_read_in_two_ways_is_refused(path: str, what: str) -> None:
    """A2: before anything that depends on the key, and alike for a key that is not known."""
    request = signed()
    claim = verify(request)
    for secret in (SECRET, "another", None):
        with pytest.raises(AmbiguousPathError, match=what):
            check(replace(request, raw_path=path.encode()), claim, secret)


@pytest.mark.parametrize("path", ["/.well-known/x", "/v1/a..b", "/v1/...", "/v1/a.", "/%252e", "/%C3%A9/", "/", "/~a"])
def test_a2_other_dots_and_escapes_are_no_harm(path: str) -> None:
    """A2: no more is refused than must be."""
    assert verify(signed(target=path))


def test_an_empty_path_is_the_root() -> None:
    """RFC 9110 §4.2.3, and botocore."""
    assert verify(signed(target=""))
    assert verify(replace(signed(target="/"), raw_path=b""))


def resigned(request: WireRequest, *names: str, secret: str = SECRET) -> WireRequest:
    """Return a request with a good signature over the headers named, as a signer makes it that has other rules."""
    claim = replace(read_claim(signed().headers, SystemClock().now()), signed_headers=names)
    request = with_headers(request, x_amz_date=f"{claim.signed_at:%Y%m%dT%H%M%SZ}".encode())
    found = {name: [value] for name, value in request.headers}
    form, *_ = canonical_requests(
        request.method,
        request.raw_path,
        request.raw_query,
        found | {name.encode(): [b""] for name in names if name.encode() not in found},
        signed_headers=names,
        body_hash=hashlib.sha256(request.body).hexdigest(),
    )
    [signature] = signatures([form], claim, secret)
    scope = f"{KEY_ID}/{claim.date}/{REGION}/countwheel/aws4_request"
    fields = f"Credential={scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return with_headers(request, authorization=f"AWS4-HMAC-SHA256 {fields}".encode())


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["idempotency-key", "x-amz-date", "x-amz-meta"], "must be signed: host$"),
        (["host", "idempotency-key", "x-amz-meta"], "must be signed: x-amz-date$"),
        (["host", "x-amz-date"], "must be signed: idempotency-key, x-amz-meta$"),
        (["host", "x-amz-date", "x-amz-meta"], "must be signed: idempotency-key$"),
        (["host", "idempotency-key", "x-amz-date"], "must be signed: x-amz-meta$"),
        (["host", "idempotency-key", "x-amz-date", "x-amz-meta", "x-none"], "not there: x-none$"),
        (["x-amz-date", "host", "idempotency-key", "x-amz-meta"], "sorted"),
        (["host", "host", "idempotency-key", "x-amz-date", "x-amz-meta"], "sorted"),
        (["host", "", "idempotency-key", "x-amz-date", "x-amz-meta"], "must be: AWS4"),
        (["Host", "idempotency-key", "x-amz-date", "x-amz-meta"], "must be: AWS4"),
    ],
)
def test_a3_host_date_amazons_and_the_key_header_must_be_signed(names: list[str], what: str) -> None:
    """A3: each that is there; the refusal names those that are missing."""
    request = with_headers(signed(), idempotency_key=b'"k"', x_amz_meta=b"1")
    assert verify(resigned(request, "host", "idempotency-key", "x-amz-date", "x-amz-meta"))
    with pytest.raises(SignatureError, match=what):
        verify(resigned(request, *names))


@pytest.mark.parametrize("name", ["authorization", "host", "x-amz-date", "x-amz-content-sha256"])
def test_a3_what_must_be_there_once_is_refused_twice_and_not_at_all(name: str) -> None:
    """A3: of two dates or hosts it would be unclear which one counts."""
    body_hash = hashlib.sha256(b"").hexdigest()
    request = signed(headers=[("X-Amz-Content-SHA256", body_hash)])
    assert verify(request)
    twice = [*request.headers, (name.encode(), header(request, name.encode()))]
    with pytest.raises(SignatureError, match=f"one header {name}; it has 2"):
        verify(replace(request, headers=twice))
    with pytest.raises(SignatureError, match=f"one header {name}; it has 0|not there: {name}"):
        verify(with_headers(request, **{name: None}))


@pytest.mark.parametrize(
    "value",
    [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "",
        "0" * 63,
        hashlib.sha256(b"").hexdigest().upper(),
    ],
)
def test_a4_a_body_that_is_not_signed_is_refused(value: str) -> None:
    """A4: `UNSIGNED-PAYLOAD` and its like, however well signed."""
    with pytest.raises(SignatureError, match="the body must be signed"):
        verify(signed(headers=[("X-Amz-Content-SHA256", value)]))


def test_a4_a_hash_that_is_not_the_bodys_is_refused() -> None:
    """A4: the body's hash is computed, not believed, even of a signer that signs the right one beside."""
    other = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(signed(body=b"{}", headers=[("X-Amz-Content-SHA256", other)]))
    request = with_headers(signed(body=b"{}"), x_amz_content_sha256=other.encode())
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(resigned(request, "host", "x-amz-content-sha256", "x-amz-date"))
    right = hashlib.sha256(b"{}").hexdigest()
    assert verify(signed(body=b"{}", headers=[("X-Amz-Content-SHA256", right)]))


@pytest.mark.parametrize("sign", [1, -1])
def test_a5_the_skew_ends_at_fifteen_minutes(sign: int) -> None:
    """A5: to the second, to both sides; the refusal says both times."""
    request = signed()
    at = verify(request).signed_at
    assert verify(request, now=at + sign * MAX_SKEW)
    with pytest.raises(SignatureError, match=f"signed at {at:%Y-%m-%dT%H:%M:%SZ}, and it is .*15 minutes"):
        verify(request, now=at + sign * (MAX_SKEW + timedelta(microseconds=1)))


def scoped(request: WireRequest, scope: str) -> WireRequest:
    value = header(request, b"authorization")
    return with_headers(request, authorization=re.sub(rb"(?<=Credential=)[^,]*", scope.encode(), value))


@pytest.mark.parametrize(
    ("scope", "what"),
    [
        ("{key}/{yesterday}/eu-1/countwheel/aws4_request", "day of the request's time"),
        ("{key}/{today}/eu-1/iam/aws4_request", "service countwheel"),
        ("{key}/{today}/eu-1/Countwheel/aws4_request", "service countwheel"),
        ("{key}/{today}/eu-1/countwheel/aws5_request", "end in aws4_request"),
        ("{key}/{today}/eu-2/countwheel/aws4_request", "region eu-1"),
        ("{key}/{today}//countwheel/aws4_request", "must be: AWS4"),
        ("{key}/{today}/eu-1/countwheel", "must be: AWS4"),
        ("{key}/{today}/eu-1/countwheel/aws4_request/", "must be: AWS4"),
        ("a/{key}/{today}/eu-1/countwheel/aws4_request", "must be: AWS4"),
        ("/{today}/eu-1/countwheel/aws4_request", "must be: AWS4"),
        ("{key}/2026112/eu-1/countwheel/aws4_request", "must be: AWS4"),
        ("", "must be: AWS4"),
    ],
)
def test_a5_the_scope_is_exact(scope: str, what: str) -> None:
    """A5: day, region, service and end."""
    request = signed()
    at = verify(request).signed_at
    days = {"today": f"{at:%Y%m%d}", "yesterday": f"{at - timedelta(days=1):%Y%m%d}"}
    with pytest.raises(SignatureError, match=what):
        verify(scoped(request, scope.format(key=KEY_ID, **days)))


def test_a5_any_region_passes_where_none_is_configured_and_is_signed() -> None:
    """A5: the region in the scope is the one that was signed."""
    request = signed(region="mars-1")
    assert verify(request, region=None).region == "mars-1"
    other = with_headers(request, authorization=header(request, b"authorization").replace(b"mars-1", b"mars-2"))
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(other, region=None)


def test_a5_an_unknown_key_and_a_bad_signature_look_alike() -> None:
    """A5: the same text and type, for an unknown key, another secret and an altered request."""
    request = signed(**WHOLE)
    seen = set()
    altered = replace(request, body=b"{}")
    for secret, attacked in ((None, request), ("another", request), (SECRET, altered), ("", request)):
        with pytest.raises(SignatureError) as caught:
            verify(attacked, secret=secret)
        seen.add((type(caught.value), str(caught.value)))
    assert seen == {(SignatureError, REFUSED)}


def test_a5_an_unknown_key_is_refused_even_if_signed_with_no_secret() -> None:
    """A5: what stands in for the secret of an unknown key opens nothing."""
    request = resigned(signed(), "host", "x-amz-date", secret="")
    assert verify(request, secret="")
    with pytest.raises(SignatureError, match=REFUSAL):
        verify(request, secret=None)


def test_session_tokens_are_refused() -> None:
    """They would need a service of their own; the text says what to do."""
    request = signed(headers=[("X-Amz-Security-Token", "t")])
    with pytest.raises(SignatureError, match="sign with an access key alone"):
        verify(request)


def test_what_a_request_may_cost_is_bounded() -> None:
    """Signed headers, their bytes, path, query and its parameters."""
    most = [(f"x-{number:03}", "v") for number in range(MAX_SIGNED_HEADERS - 2)]
    assert verify(signed(headers=most))
    with pytest.raises(SignatureError, match="more than 64 headers"):
        verify(signed(headers=[*most, ("x-more", "v")]))
    assert verify(signed(headers=[("x-a", "v" * (MAX_SIGNED_BYTES - 100))]))
    with pytest.raises(SignatureError, match="over 16384 bytes"):
        verify(signed(headers=[("x-a", "v" * MAX_SIGNED_BYTES)]))
    assert verify(signed(target="/" + "a" * (MAX_TARGET_BYTES - 1)))
    with pytest.raises(SignatureError, match="too long"):
        verify(signed(target="/" + "a" * (MAX_TARGET_BYTES - 5) + "?query"))
    assert verify(signed(target="/?" + "&" * (MAX_QUERY_PARAMETERS - 1)))
    with pytest.raises(SignatureError, match="too many parameters"):
        verify(signed(target="/?" + "&" * MAX_QUERY_PARAMETERS))


def test_line_ends_are_refused_where_they_could_make_lines_of_the_form() -> None:
    """A canonical request is made of lines."""
    request = signed(target="/v1/jobs?a=1", headers=[("x-note", "v")])
    for attacked in (replace(request, raw_query=b"a=1\nb"), with_headers(request, x_note=b"v\nw")):
        with pytest.raises(SignatureError, match="control character"):
            verify(attacked)


def test_bytes_that_are_no_ascii_are_signed_as_they_come() -> None:
    """A header's bytes are what is signed, in whatever encoding."""
    request = with_headers(signed(), x_note="é".encode())
    assert verify(resigned(request, "host", "x-amz-date", "x-note"))
