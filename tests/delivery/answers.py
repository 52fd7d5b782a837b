"""What targets say to a request, right and wrong, and what is to come of it."""

import gzip
from dataclasses import dataclass

from hostile import OK

from countwheel.delivery.answer import HEAD_BYTES, MAX_HEADERS, MAX_INTERIM_ANSWERS
from countwheel.domain.attempt import FailureKind

PROTOCOL, DISCONNECTED, TIMEOUT = FailureKind.PROTOCOL, FailureKind.DISCONNECTED, FailureKind.TIMEOUT


@dataclass(frozen=True)
class Case:
    """What a target says to a request, and what is to come of it."""

    said: bytes
    comes: int | FailureKind
    """A status, or why there is none."""
    reused: bool = False
    """Whether the connection serves the next call."""
    closes: bool = False
    """Whether the target closes afterwards."""
    head: bytes | None = None


HEAD = b"HTTP/1.1 200 OK\r\n"
GZIPPED = gzip.compress(b"\0" * 100_000)

CASES = {
    "with a length": Case(OK, 200, reused=True, head=b"ok"),
    "an empty body": Case(HEAD + b"content-length: 0\r\n\r\n", 200, reused=True, head=b""),
    "no reason phrase": Case(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, reused=True),
    "white space around a value": Case(HEAD + b"content-length: \t 2 \r\n\r\nok", 200, reused=True),
    "chunked": Case(HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, reused=True, head=b"ok"),
    "chunked, many": Case(
        HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n",
        200, reused=True, head=b"x" * 500,
    ),
    "chunk extensions": Case(
        HEAD + b'transfer-encoding: chunked\r\n\r\n2;a=b;c="d"\r\nok\r\n0;x\r\n\r\n', 200, reused=True, head=b"ok"
    ),
    "trailers": Case(
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nretry-after: 9\r\nx: y\r\n\r\n",
        200, reused=True, head=b"ok",
    ),
    "interim answers": Case(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\n" + OK, 200, reused=True, head=b"ok"
    ),
    "as many interim answers as may be": Case(
        b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM_ANSWERS + OK, 200, reused=True
    ),
    "endless interim answers": Case(b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM_ANSWERS + 1), PROTOCOL),
    "an upgrade": Case(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n\x81\x00", PROTOCOL),
    "a bare 101": Case(b"HTTP/1.1 101 Switching\r\n\r\n", PROTOCOL),
    "no length, closed": Case(HEAD + b"\r\nto the end", 200, closes=True, head=b"to the end"),
    "another coding, closed": Case(HEAD + b"transfer-encoding: gzip\r\n\r\nx", 200, closes=True, head=b"x"),
    "HTTP/1.0, closed": Case(b"HTTP/1.0 200 OK\r\n\r\nold", 200, closes=True, head=b"old"),
    "HTTP/1.0 with a length": Case(b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", 200, head=b"old"),
    "HTTP/1.0, kept alive": Case(
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nold", 200, reused=True, head=b"old"
    ),
    "connection: close": Case(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok", 200, head=b"ok"),
    "204": Case(b"HTTP/1.1 204 No Content\r\n\r\n", 204, reused=True, head=b""),
    "304 with a length": Case(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, reused=True, head=b""),
    "an error": Case(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 503, reused=True),
    "a status of one's own": Case(b"HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n", 999, reused=True),
    "a redirect": Case(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", 302, reused=True),
    "a gzip bomb": Case(
        HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED,
        200, reused=True, head=GZIPPED[:HEAD_BYTES],
    ),
    "more than announced": Case(HEAD + b"content-length: 2\r\n\r\nokay", 200, head=b"ok"),
    "a second answer": Case(OK + OK, 200, head=b"ok"),
    "junk after the last chunk": Case(
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\njunk", 200, head=b"ok"
    ),
    "a body after 204": Case(b"HTTP/1.1 204 No Content\r\n\r\nbody", 204, head=b""),
    "a chunk size that is none": Case(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 200, head=b""),
    "a chunk longer than its size": Case(HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", 200),
    "a body cut off": Case(HEAD + b"content-length: 9\r\n\r\nhalf", 200, closes=True, head=b"half"),
    "a chunk cut off": Case(HEAD + b"transfer-encoding: chunked\r\n\r\n9\r\nhalf", 200, closes=True, head=b"half"),
    "longer than is read": Case(HEAD + b"content-length: 70000\r\n\r\n" + b"y" * 70_000, 200, head=b"y" * HEAD_BYTES),
    "chunks of nothing much": Case(HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000, 200),
    "trailers without end": Case(
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 40_000, 200, head=b""
    ),
    "as many headers as may be": Case(HEAD + b"a: b\r\n" * (MAX_HEADERS - 1) + OK[len(HEAD) :], 200, reused=True),
    "one header too many": Case(HEAD + b"a: b\r\n" * MAX_HEADERS + OK[len(HEAD) :], PROTOCOL),
    "a header too long": Case(HEAD + b"x: " + b"y" * 66_000 + b"\r\n" + OK[len(HEAD) :], PROTOCOL),
    "headers too long together": Case(HEAD + b"x: yyyyyyyyyyyyyyyyyy\r\n" * 3_000 + OK[len(HEAD) :], PROTOCOL),
    "a status line without end": Case(b"HTTP/1.1 200 " + b"O" * 66_000, PROTOCOL),
    "length and chunked": Case(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
    "two lengths": Case(HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok", PROTOCOL),
    "a negative length": Case(HEAD + b"content-length: -2\r\n\r\nok", PROTOCOL),
    "a length beyond numbers": Case(HEAD + b"content-length: 99999999999999999999\r\n\r\nok", PROTOCOL),
    "a folded header": Case(HEAD + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "a NUL in a header": Case(HEAD + b"x: a\0b\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "a header without a name": Case(HEAD + b": x\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "garbage": Case(b"this is not HTTP\r\n\r\n", PROTOCOL),
    "another protocol": Case(b"SSH-2.0-OpenSSH_9.2\r\n", PROTOCOL),
    "a TLS alert": Case(b"\x15\x03\x01\x00\x02\x02\x46", PROTOCOL),
    "HTTP/2": Case(b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "HTTP/0.9": Case(b"HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "a status below 100": Case(b"HTTP/1.1 042 OK\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "a status of four digits": Case(b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok", PROTOCOL),
    "a status in letters": Case(b"HTTP/1.1 banana\r\n\r\n", PROTOCOL),
    "closed unanswered": Case(b"", DISCONNECTED, closes=True),
    "closed within the status line": Case(b"HTTP/1.1 2", DISCONNECTED, closes=True),
    "closed within the headers": Case(HEAD + b"content-le", DISCONNECTED, closes=True),
    "closed after an interim answer": Case(b"HTTP/1.1 100 Continue\r\n\r\n", DISCONNECTED, closes=True),
    "closed before its body": Case(HEAD + b"content-length: 2\r\n\r\n", 200, closes=True, head=b""),
    "silent": Case(b"", TIMEOUT),
    "silent within the headers": Case(HEAD + b"content-le", TIMEOUT),
    "silent within the body": Case(HEAD + b"content-length: 9\r\n\r\nhalf", TIMEOUT),
    "silent without a length": Case(HEAD + b"\r\nhalf", TIMEOUT),
}  # fmt: skip
