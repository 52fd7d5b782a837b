"""What a request looks like on the wire, and where it goes. What could be read as two requests is refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from countwheel.domain.attempt import Call
from countwheel.domain.target import target_fault, target_host

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"})
"""Headers that frame a request: they are the sender's own."""
_BODY_EXPECTED = frozenset({"POST", "PUT", "PATCH"})


class MalformedCallError(ValueError):
    """A call that cannot be written as one HTTP request."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads: `host` in lower case, without final dot and brackets."""

    is_tls: bool
    host: str
    port: int
    authority: str
    path: str


@lru_cache(maxsize=4096)
def destination(url: str) -> Destination:
    """Return where a URL leads. Raises `MalformedCallError`."""
    if (fault := target_fault(url)) is not None:
        raise MalformedCallError(fault)
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    host, usual = target_host(url), 443 if is_tls else 80
    port = parts.port or usual
    authority = f"[{host}]" if ":" in host else host
    path = f"{parts.path or '/'}?{parts.query}" if "?" in url else parts.path or "/"
    return Destination(is_tls, host, port, authority if port == usual else f"{authority}:{port}", path)


def encode_head(call: Call) -> bytes:
    """Return request line and headers, to the empty line. Raises `MalformedCallError`."""
    head = _beginning(call.url, call.method) + call.written
    if call.headers:
        head += _lines(call.headers)
    if call.body or call.method in _BODY_EXPECTED:
        head += f"content-length: {len(call.body)}\r\n"
    try:
        return (head + "\r\n").encode()
    except UnicodeEncodeError as error:
        raise MalformedCallError("a header holds what is not a character") from error


def _lines(headers: Sequence[tuple[str, str]]) -> str:
    lines = "".join([f"{_name(name)}{value}\r\n" for name, value in headers])
    # One line a header, whatever stands in its value.
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise MalformedCallError("a header holds a line break or a NUL")
    return lines


@lru_cache(maxsize=4096)
def _beginning(url: str, method: str) -> str:
    if _METHOD.fullmatch(method) is None:
        raise MalformedCallError(f"{method!r} is not a method")
    to = destination(url)
    return f"{method} {to.path} HTTP/1.1\r\nhost: {to.authority}\r\n"


@lru_cache(maxsize=1024)
def _name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None or name.lower() in _OURS:
        raise MalformedCallError(f"{name!r} is not a header that a call can have")
    return f"{name}: "
