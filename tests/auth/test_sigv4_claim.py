"""A5: what an Authorization header and a date may look like, and what is refused before a key is looked for."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from signers import KEY_ID, REGION

from countwheel.auth.sigv4 import Claim, SignatureError, WireRequest, check, is_signed, read_claim

DATE = "20261125T101112Z"
AT = datetime(2026, 11, 25, 10, 11, 12, tzinfo=UTC)
SCOPE = f"Credential={KEY_ID}/20261125/{REGION}/countwheel/aws4_request"
NAMES, SIGNATURE = "SignedHeaders=host;x-amz-date", "Signature=" + "0f" * 32

RIGHT = f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}"


def read(authorization: str, **more: str) -> Claim:
    headers = {"host": "h", "x-amz-date": DATE} | {name.replace("_", "-"): value for name, value in more.items()}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items() if value]
    return read_claim([*pairs, (b"authorization", authorization.encode("utf-8"))], AT)


@pytest.mark.parametrize(
    "authorization",
    [
        RIGHT,
        f"AWS4-HMAC-SHA256 {SCOPE},{NAMES},{SIGNATURE}",
        f"aws4-hmac-sha256   {SIGNATURE} ,\t{SCOPE},   {NAMES}  ",
    ],
)
def test_the_authorization_may_be_spaced_and_ordered_as_signers_do(authorization: str) -> None:
    """RFC 9110 §11.4: the scheme in any case, the parameters in any order."""
    assert is_signed(authorization)
    assert read(authorization) == Claim(KEY_ID, "20261125", REGION, AT, ("host", "x-amz-date"), "0f" * 32)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 x",
        f"AWS4-HMAC-SHA256{SCOPE}, {NAMES}, {SIGNATURE}",
        f"AWS4-ECDSA-P256-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}",
        f"Bearer {SCOPE}, {NAMES}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE} {NAMES} {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}; {NAMES}; {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {NAMES}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {SCOPE}, {NAMES}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}, More=1",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE},",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE.lower()}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE.replace('f', 'F')}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE[:-1]}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}0",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE[:-1]}٣",
        f'AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, Signature="{"0f" * 32}"',
        f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host:x-amz-date, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES} , {SIGNATURE}\n",
        f"AWS4-HMAC-SHA256 {SCOPE.replace(KEY_ID, 'k' * 129)}, {NAMES}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE.replace(KEY_ID, 'ключ')}, {NAMES}, {SIGNATURE}",
        f"AWS4-HMAC-SHA256 {SCOPE}, {' ' * 9_000}{NAMES}, {SIGNATURE}",
    ],
)
def test_a_malformed_authorization_is_refused(authorization: str) -> None:
    """Whatever is wrong with it; the text says what it must be, and repeats nothing of it."""
    with pytest.raises(SignatureError, match="the Authorization header must be: AWS4|is not ASCII|is too long"):
        read(authorization)


@pytest.mark.parametrize("text", ["", "Bearer x", "AWS4-HMAC-SHA256x", "AWS4", " AWS4-HMAC-SHA256 x"])
def test_other_schemes_are_not_ours(text: str) -> None:
    """What is of another scheme is left to others."""
    assert not is_signed(text)


@pytest.mark.parametrize(
    "date",
    [
        DATE,
        "Wed, 25 Nov 2026 10:11:12 GMT",
        "Wed, 25 Nov 2026 10:11:12 -0000",
        "Wed, 25 Nov 2026 11:11:12 +0100",
        "Wednesday, 25-Nov-26 10:11:12 GMT",
        "Wed Nov 25 10:11:12 2026",
    ],
)
def test_the_date_header_does_where_there_is_no_other(date: str) -> None:
    """RFC 9110 §5.6.7's three forms, botocore's, and the basic form of ISO 8601."""
    names = "SignedHeaders=date;host"
    assert read(f"AWS4-HMAC-SHA256 {SCOPE}, {names}, {SIGNATURE}", x_amz_date="", date=date).signed_at == AT
    with pytest.raises(SignatureError, match="must be signed: x-amz-date"):
        read(f"AWS4-HMAC-SHA256 {SCOPE}, {names}, {SIGNATURE}", date=date)
    with pytest.raises(SignatureError, match="must be signed: date"):
        read(f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, {SIGNATURE}", x_amz_date="", date=date)
    pairs = [("host", "h"), ("date", date), ("date", date)]
    with pytest.raises(SignatureError, match="one header date; it has 2"):
        read_claim([(name.encode(), value.encode()) for name, value in [*pairs, ("authorization", RIGHT)]], AT)


@pytest.mark.parametrize(
    "date",
    [
        "20261125T101112",
        "20261125T101112z",
        "20261125 101112Z",
        "2026-11-25T10:11:12Z",
        "20261325T101112Z",
        "20261125T101160Z",
        "00000000T000000Z",
        "20261125T101112Z ,",
        "Wed, 25 Nov 2026 10:11:12 GMT",
        "1795601472",
        "²⁰261125T101112Z",
    ],
)
def test_another_form_of_the_date_is_refused(date: str) -> None:
    """`X-Amz-Date` has one form."""
    with pytest.raises(SignatureError, match="YYYYMMDDTHHMMSSZ|not ASCII"):
        read(f"AWS4-HMAC-SHA256 {SCOPE}, {NAMES}, {SIGNATURE}", x_amz_date=date)


days = st.from_regex(r"\A(Wed, )?[0-9]{1,2} (Nov|Dec|Foo) [0-9]{1,6} [0-9:]{5,8} [+-]?[0-9A-Z]{1,14}\Z")


@example("Wed, 25 Nov 2026 10:11:12 +99999999999999")
@example("Fri, 31 Dec 9999 23:59:59 -0100")
@given(days | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_whatever_the_date_header_holds_is_read_or_refused(date: str) -> None:
    """No date ends in another error than ours."""
    with suppress(SignatureError):
        read(f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=date;host, {SIGNATURE}", x_amz_date="", date=date)


pieces = st.sampled_from([SCOPE, NAMES, SIGNATURE, DATE, ", ", "=", ";", "/", "AWS4-HMAC-SHA256 "]) | st.text(
    max_size=5
)
values = st.lists(pieces, max_size=8).map(lambda parts: "".join(parts).encode("utf-8", "replace")) | st.binary(
    max_size=9
)
headers_there = [
    b"host",
    b"authorization",
    b"x-amz-date",
    b"date",
    b"x-amz-content-sha256",
    b"idempotency-key",
    b"\xe9",
]


@given(st.lists(st.tuples(st.sampled_from(headers_there), values), max_size=3), st.booleans(), st.binary(max_size=9))
def test_whatever_comes_is_read_or_refused(more: list[tuple[bytes, bytes]], replaces: bool, target: bytes) -> None:
    """No header, path or query ends in another error than ours."""
    replaced = {name for name, _ in more} if replaces else set()
    whole = [(b"host", b"h"), (b"x-amz-date", DATE.encode()), (b"authorization", RIGHT.encode())]
    headers = [pair for pair in whole if pair[0] not in replaced] + more
    with suppress(SignatureError):
        claim = read_claim(headers, AT)
        assert claim.signature.isascii()
        check(WireRequest("GET", b"/" + target, target, headers, target), claim, "secret")
