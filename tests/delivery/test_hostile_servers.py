"""The conformance of the HTTP/1.1 client: whatever a target does, one call is one request, and its outcome is right."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from answers import CASES, HEAD, Case
from hostile import BODY, OK, HostileServer, Peer

from countwheel.clock import SystemClock
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


@pytest.mark.parametrize("piece", [0, 1, 7], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_an_answer_is_read_as_it_is_meant(sender: HttpSender, case: Case, piece: int) -> None:
    """Status or kind of failure, what is kept, whether the connection is used again; and no request comes twice."""
    if piece and len(case.said) > 5_000:
        pytest.skip("so many packets show nothing more: test_answer_reader.py cuts all of these anywhere")

    async def script(peer: Peer) -> None:
        while True:
            await peer.take()
            await peer.say(case.said, piece)
            if case.closes:
                return

    seconds = 0.6 if case.comes is TIMEOUT else 5.0  # on a busy machine a connection takes its time, too
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
        await peer.say(HEAD + b"content-length: 0\r\n\r\n")
        await peer.take()
        await peer.say(HEAD + b"content-length: 100000\r\n\r\n")
        while True:
            await peer.say(b"x")
            await SystemClock().sleep(0.02)

    async with HostileServer(script) as server:
        await sender.send(server.call())  # a connection that stands: on a busy machine, making one may take all of it
        result = await sender.send(server.call(timeout_seconds=0.3))
        assert isinstance(result, Failure)
        assert (result.kind, result.maybe_sent, server.connections) == (TIMEOUT, True, 1)
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
