"""The bytes of a request: one request, whatever stands in its parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.delivery.wire import MalformedCallError, destination, encode_head
from countwheel.domain.attempt import Call

URL = "https://example.com:8443/hook?a=b"


def head(*headers: tuple[str, str], method: str = "POST", url: str = URL, body: bytes = b"{}") -> bytes:
    return encode_head(Call(url, headers, body, 30.0, method))


def test_a_request_is_framed_by_us() -> None:
    """Host of the name, length of the body, the job's headers as they are."""
    assert head(("x-a", "1 2")) == (
        b"POST /hook?a=b HTTP/1.1\r\nhost: example.com:8443\r\nx-a: 1 2\r\ncontent-length: 2\r\n\r\n"
    )
    assert head(method="DELETE", body=b"").endswith(b"\r\nhost: example.com:8443\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "1\r\nx-evil: 1"),
        ("x-a", "1\nx-evil: 1"),
        ("x-a", "1\rx"),
        ("x-a", "1\0"),
        ("x-a", "1\r\n\r\nGET / HTTP/1.1"),
        ("x-a\r\nx-evil", "1"),
        ("x a", "1"),
        ("", "1"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("host", "elsewhere"),
        ("x-a", "\ud800"),
    ],
)
def test_no_header_makes_it_two(name: str, value: str) -> None:
    """A line break, a NUL or a framing header is refused, and nothing is written."""
    with pytest.raises(MalformedCallError):
        head((name, value))


@given(st.text(max_size=40))
def test_whatever_a_value_holds_there_is_one_line_a_header(value: str) -> None:
    """Accepted as one line, or refused."""
    try:
        encoded = head(("x-a", value))
    except MalformedCallError:
        return
    assert encoded.count(b"\r\n") == 5
    assert encoded.count(b"\n") == encoded.count(b"\r") == 5


@pytest.mark.parametrize(
    "url", ["https://user@example.com/", "https://example.com/\r\nx: 1", "ftp://example.com/", "https://"]
)
def test_what_is_no_target_has_no_destination(url: str) -> None:
    """As the contract says it."""
    with pytest.raises(MalformedCallError):
        destination(url)
