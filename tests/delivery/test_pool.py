"""The pool of connections: its limit and who waits for it, age, and that nothing outlives it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from hostile import OK, HostileServer, Peer, give_way

from countwheel.delivery.guard import Guard
from countwheel.delivery.http1 import Connection
from countwheel.delivery.pool import IDLE_SECONDS, Pool
from countwheel.delivery.sender import HttpSender
from countwheel.domain.attempt import AttemptResult, Failure, FailureKind, Response
from countwheel.testing.clock import FakeClock
from harness import LOOPBACK


@pytest.fixture
async def narrow() -> AsyncIterator[HttpSender]:
    """A sender with one connection in all."""
    opened = HttpSender(Guard(LOOPBACK, allow_http=True), connections=1)
    yield opened
    await opened.close()


class Gate:
    """A target that takes requests and answers each when it is let; `taken` has one permit a request."""

    def __init__(self) -> None:
        self.taken = asyncio.Semaphore(0)
        self.answers = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.take()
            self.taken.release()
            await self.answers.acquire()
            await peer.say(OK)


async def answer(peer: Peer) -> None:
    while True:
        await peer.take()
        await peer.say(OK)


def is_unsent(result: AttemptResult, kind: FailureKind = FailureKind.CONNECT) -> bool:
    return isinstance(result, Failure) and (result.kind, result.maybe_sent) == (kind, False)


async def test_a_call_over_the_limit_waits_and_takes_the_same_connection(narrow: HttpSender) -> None:
    """The second request arrives when the first is answered, over the one connection that there may be."""
    gate = Gate()
    async with HostileServer(gate) as server:
        calls = [asyncio.create_task(narrow.send(server.call())) for _ in range(2)]
        await gate.taken.acquire()
        await give_way()
        assert len(server.requests) == 1
        gate.answers.release()
        gate.answers.release()
        assert all(isinstance(result, Response) for result in await asyncio.gather(*calls))
        assert (len(server.requests), server.connections) == (2, 1)


async def test_time_that_runs_out_while_waiting_was_not_sent(narrow: HttpSender) -> None:
    """No connection came free in time: certainly nothing has left."""
    gate = Gate()
    async with HostileServer(gate) as server:
        first = asyncio.create_task(narrow.send(server.call()))
        await gate.taken.acquire()
        assert is_unsent(await narrow.send(server.call(timeout_seconds=0.1)))
        gate.answers.release()
        assert isinstance(await first, Response)
        assert len(server.requests) == 1


@pytest.mark.parametrize("moment", ["while it waits", "when it is its turn"])
async def test_a_cancelled_waiter_leaks_nothing(
    narrow: HttpSender, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Neither its place in the queue nor its turn: the next one gets the connection."""
    gate = Gate()
    give_back = Pool.give_back

    def give_back_and_cancel(pool: Pool, connection: Connection) -> None:
        give_back(pool, connection)
        cancelled.cancel()  # in the very step that gave the turn away

    monkeypatch.setattr(Pool, "give_back", give_back_and_cancel)
    async with HostileServer(gate) as server:
        first = asyncio.create_task(narrow.send(server.call()))
        await gate.taken.acquire()
        cancelled, last = (asyncio.create_task(narrow.send(server.call())) for _ in range(2))
        await give_way()
        if moment == "while it waits":
            cancelled.cancel()
        gate.answers.release()
        gate.answers.release()
        assert isinstance(await first, Response)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        async with asyncio.timeout(5):
            assert isinstance(await last, Response)
        assert isinstance(await narrow.send(server.call(timeout_seconds=0.2)), Failure), "answered by nobody"
        gate.answers.release()
        assert len(server.requests) == 3, "the cancelled call never left"


async def test_a_busy_target_does_not_keep_the_others_waiting_for_good(narrow: HttpSender) -> None:
    """Whose turn it was and who found no room stays first: a call to another target waits for one answer, not all."""
    gate = Gate()
    async with HostileServer(gate) as busy, HostileServer(answer) as other:
        first = asyncio.create_task(narrow.send(busy.call()))
        await gate.taken.acquire()
        elsewhere = asyncio.create_task(narrow.send(other.call()))
        await give_way()
        crowd = [asyncio.create_task(narrow.send(busy.call())) for _ in range(10)]
        await give_way()
        gate.answers.release()
        await first
        async with asyncio.timeout(5):
            assert isinstance(await elsewhere, Response)
        assert len(busy.requests) <= 2, "the crowd has not gone first"
        for _ in crowd:
            gate.answers.release()
        assert all(isinstance(result, Response) for result in await asyncio.gather(*crowd))


async def test_what_is_idle_makes_room_for_another_target(narrow: HttpSender) -> None:
    """A connection that nobody uses is closed for one that somebody needs."""
    async with HostileServer(answer) as one, HostileServer(answer) as other:
        for server in (one, other, one):
            assert isinstance(await narrow.send(server.call()), Response)
        assert (one.connections, other.connections) == (2, 1)


async def test_an_idle_connection_comes_of_age() -> None:
    """Younger than its age it is used again; at its age it is closed and another is made."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4, clock=clock)
    async with HostileServer(answer) as server:
        for passed, connections in ((0.0, 1), (IDLE_SECONDS - 0.5, 1), (IDLE_SECONDS, 2)):
            clock.advance(passed)
            assert isinstance(await sender.send(server.call()), Response)
            assert server.connections == connections
        await sender.close()


class Jumping(FakeClock):
    """A clock that can be set to jump ten seconds whenever it is looked at."""

    jumps = False

    def monotonic(self) -> float:
        if self.jumps:
            self.advance(10.0)
        return super().monotonic()


async def test_what_has_no_time_left_is_not_written() -> None:
    """A node that stood still until its call's time was over: an answer could not be waited for, so nothing is sent."""
    clock = Jumping(datetime(2026, 1, 1, tzinfo=UTC))
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4, clock=clock)
    async with HostileServer(answer) as server:
        assert isinstance(await sender.send(server.call()), Response)
        clock.jumps = True
        assert is_unsent(await sender.send(server.call(timeout_seconds=5.0)))
        clock.jumps = False
        assert isinstance(await sender.send(server.call()), Response)
        assert (len(server.requests), server.connections) == (2, 1)
        await sender.close()


async def test_close_leaves_no_connection_behind() -> None:
    """Idle and busy ones: every target has seen the end of its connection soon after."""
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=8)
    gate, gone = Gate(), asyncio.Semaphore(0)

    async def hold(peer: Peer) -> None:
        await peer.take()
        gate.taken.release()
        await gate.answers.acquire()
        await peer.say(OK)
        await peer.until_closed()
        gone.release()

    async with HostileServer(hold) as server:
        calls = [asyncio.create_task(sender.send(server.call())) for _ in range(4)]
        for _ in calls:
            await gate.taken.acquire()
            gate.answers.release()
        assert all(isinstance(result, Response) for result in await asyncio.gather(*calls))
        await sender.close()
        async with asyncio.timeout(5):
            for _ in calls:
                await gone.acquire()


async def test_who_waits_for_room_at_the_close_is_sent_away() -> None:
    """The connection that was waited for is closed, and no other is made in its place: nothing leaves any more."""
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=1)
    gate = Gate()
    async with HostileServer(gate) as server:
        first = asyncio.create_task(sender.send(server.call()))
        await gate.taken.acquire()
        waiting = asyncio.create_task(sender.send(server.call()))
        await give_way()
        await sender.close()
        result = await first
        assert isinstance(result, Failure)
        assert result.maybe_sent
        async with asyncio.timeout(2):
            assert is_unsent(await waiting)
        assert (len(server.requests), server.connections) == (1, 1)


async def test_a_connection_that_is_made_after_the_close_carries_nothing() -> None:
    """Closed within the look-up or the connecting: the call ends unsent, and its connection is closed."""
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4)
    async with HostileServer(answer) as server:
        call = asyncio.create_task(sender.send(server.call()))
        await give_way(1)  # the first step: it has begun to connect
        await sender.close()
        async with asyncio.timeout(2):
            result = await call
        assert isinstance(result, Failure)
        assert (result.maybe_sent, server.requests) == (False, [])
