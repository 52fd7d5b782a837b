"""The conformance of the HTTP/1.1 client: whatever a target does, one call is one request, and its outcome is right."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hostile import BODY, OK, HostileServer, Peer

from countwheel.clock import SystemClock
from countwheel.delivery.answer import HEAD_BYTES, MAX_HEADERS, MAX_INTERIM_ANSWERS
from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender
from countwheel.domain.attempt import Failure, FailureKind, Response
from harness import LOOPBACK

PROTOCOL, DISCONNECTED, TIMEOUT = FailureKind.PROTOCOL, FailureKind.DISCONNECTED, FailureKind.TIMEOUT


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    opened = HttpSender(Guard(LOOPBACK, allow_http=True), connections=20)
    yield opened
    await opened.close()


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


@pytest.mark.parametrize("piece", [0, 1, 7], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_an_answer_is_read_as_it_is_meant(sender: HttpSender, case: Case, piece: int) -> None:
    """Status or kind of failure, what is kept, whether the connection is used again; and no request comes twice."""
    if piece and len(case.said) > 5_000:
        pytest.skip("so many packets show nothing more: AnswerReader is tested with every split")

    async def script(peer: Peer) -> None:
        while True:
            await peer.take()
            await peer.say(case.said, piece)
            if case.closes:
                return

    seconds = 0.15 if case.comes is TIMEOUT else 5.0
    async with HostileServer(script) as server:
        results = [await sender.send(server.call(timeout_seconds=seconds)) for _ in range(2)]
    for result in results:
        if isinstance(case.comes, int):
            assert isinstance(result, Response), result
            assert result.status == case.comes
            assert case.head is None or result.head == case.head
        else:
            assert isinstance(result, Failure), result
            assert (result.kind, result.maybe_sent) == (case.comes, True)
    assert len(server.requests) == 2, "a request for each call, never one more"
    assert server.connections == (1 if case.reused else 2)


async def test_a_reset_after_the_request_is_a_disconnect(sender: HttpSender) -> None:
    """RST instead of an answer: the request may have been taken."""

    async def script(peer: Peer) -> None:
        await peer.take()
        peer.reset()

    async with HostileServer(script) as server:
        result = await sender.send(server.call())
        assert isinstance(result, Failure)
        assert (result.kind, result.maybe_sent, len(server.requests)) == (DISCONNECTED, True, 1)


async def test_a_target_that_closes_at_once_gets_no_second_try(sender: HttpSender) -> None:
    """Closed as soon as it was accepted: a failure, one connection, no request that was read."""

    async def script(peer: Peer) -> None:
        peer.reset()

    async with HostileServer(script) as server:
        result = await sender.send(server.call())
        assert isinstance(result, Failure)
        assert (server.connections, server.requests) == (1, [])


async def test_a_trickle_ends_with_the_time(sender: HttpSender) -> None:
    """A byte now and then keeps nothing alive: the time is the whole call's."""

    async def script(peer: Peer) -> None:
        await peer.take()
        await peer.say(HEAD + b"content-length: 100000\r\n\r\n")
        while True:
            await peer.say(b"x")
            await SystemClock().sleep(0.02)

    async with HostileServer(script) as server:
        result = await sender.send(server.call(timeout_seconds=0.3))
        assert isinstance(result, Failure)
        assert (result.kind, result.maybe_sent) == (TIMEOUT, True)
        assert result.trace is not None
        assert 250 < (result.trace.total_ms or 0) < 2_000


@pytest.mark.parametrize(
    ("beginning", "comes"),
    [(HEAD, PROTOCOL), (HEAD + b"x: ", PROTOCOL), (HEAD + b"content-length: 1000000000\r\n\r\n", 200)],
    ids=["endless headers", "a header without end", "endless body"],
)
async def test_a_flood_is_not_read_on(sender: HttpSender, beginning: bytes, comes: int | FailureKind) -> None:
    """1 GB of headers or body: what is read is bounded, the connection goes, and the target notices."""
    noticed = asyncio.Event()
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.take()
        await peer.say(beginning)
        try:
            while sent < 1_000_000_000:
                await peer.say(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1_000)
                sent += 64_000
        except ConnectionError:
            noticed.set()

    async with HostileServer(script) as server:
        result = await sender.send(server.call())
        assert (result.kind if isinstance(result, Failure) else result.status) == comes
        async with asyncio.timeout(10):
            await noticed.wait()
    assert sent < 20_000_000, "no more than fits into the sockets' buffers"


async def test_an_answer_may_come_before_the_request_is_written(sender: HttpSender) -> None:
    """A target that refuses a large body unread: its answer counts, and its connection is not used again."""
    large = b"x" * 20_000_000 + BODY

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()  # and never reads on

    async with HostileServer(script) as server:
        for _ in range(2):
            result = await sender.send(server.call(body=large))
            assert isinstance(result, Response)
            assert result.status == 413
        assert server.connections == 2


async def test_a_large_body_arrives_whole(sender: HttpSender) -> None:
    """Written as the target takes it, and the connection is used again."""
    large = b"x" * 5_000_000 + BODY

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.reader.readuntil(b"\r\n\r\n")
            await peer.reader.readexactly(len(large))
            assert b"content-length: %d\r\n" % len(large) in head
            await peer.say(OK)

    async with HostileServer(script) as server:
        for _ in range(2):
            assert await sender.send(server.call(body=large)) == Response(200, b"ok")
        assert server.connections == 1


async def test_what_comes_unasked_is_never_taken_for_an_answer(sender: HttpSender) -> None:
    """A second answer long after the first closes the idle connection: the next call gets its own answer."""
    speak, spoken = asyncio.Event(), asyncio.Event()
    lies = b"HTTP/1.1 500 Lie\r\ncontent-length: 0\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.take()
        await peer.say(OK)
        await speak.wait()
        await peer.say(lies)
        spoken.set()
        await peer.until_closed()

    async with HostileServer(script) as server:
        assert await sender.send(server.call()) == Response(200, b"ok")
        speak.set()
        await spoken.wait()
        assert await sender.send(server.call()) == Response(200, b"ok")
        assert (len(server.requests), server.connections) == (2, 2)


async def test_a_cancelled_call_closes_its_connection(sender: HttpSender) -> None:
    """Within the answer: the target sees the end, and nothing waits any more."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.take()
        arrived.set()
        await peer.until_closed()
        gone.set()

    async with HostileServer(script) as server:
        task = asyncio.create_task(sender.send(server.call()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await gone.wait()
        assert len(server.requests) == 1


async def test_closing_the_sender_ends_what_is_under_way() -> None:
    """A call in the middle of an answer is told so, and counts as sent."""
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=2)
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.take()
        arrived.set()
        await peer.until_closed()

    async with HostileServer(script) as server:
        task = asyncio.create_task(sender.send(server.call()))
        await arrived.wait()
        await sender.close()
        result = await task
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (DISCONNECTED, True)
