"""A call on a connection that stands leaves in the step that asks for it, and is told of once, or aborted."""

import asyncio

from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind, Response
from countwheel.testing import Reply, WebhookReceiver


class Told:
    """What was told, and that it was."""

    def __init__(self) -> None:
        self.results: list[AttemptResult] = []
        self.is_there = asyncio.Event()

    def __call__(self, result: AttemptResult) -> None:
        """Take what came of a call."""
        self.results.append(result)
        self.is_there.set()

    async def result(self) -> AttemptResult:
        """Return the only thing that was told."""
        async with asyncio.timeout(5):
            await self.is_there.wait()
        (result,) = self.results
        return result


def call(url: str, *, timeout_seconds: float = 5.0) -> Call:
    return Call(url, (("webhook-id", "run-1"),), b"{}", timeout_seconds)


async def test_without_a_connection_nothing_is_done(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """The first call to a target must be awaited: there is no connection, and none is made."""
    told = Told()
    assert sender.send_at_once(call(receiver.url), told) is None
    assert (told.results, receiver.connections_made) == ([], 0)


async def test_a_call_leaves_on_the_connection_that_stands(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """The second call goes over the connection of the first; what came of it is told, with its way."""
    await sender.send(call(receiver.url))
    told = Told()
    assert sender.send_at_once(call(receiver.url), told) is not None
    result = await told.result()
    assert isinstance(result, Response)
    assert result.trace is not None
    assert (result.status, result.trace.reused, result.trace.port) == (200, True, receiver.port)
    assert (len(receiver.calls), receiver.connections_made) == (2, 1)


async def test_the_next_call_may_leave_when_the_last_is_told(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """The connection is free again before anybody is told: a chain of calls needs one."""
    await sender.send(call(receiver.url))
    last = Told()
    left = 5

    def go_on(result: AttemptResult) -> None:
        nonlocal left
        left -= 1
        assert isinstance(result, Response)
        assert sender.send_at_once(call(receiver.url), go_on if left else last) is not None

    sender.send_at_once(call(receiver.url), go_on)
    assert isinstance(await last.result(), Response)
    assert (len(receiver.calls), receiver.connections_made) == (7, 1)


async def test_an_aborted_call_tells_nobody(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """Its connection is closed, whatever its target answers; the next call makes one of its own."""
    await sender.send(call(receiver.url))
    told, gate = Told(), asyncio.Event()
    receiver.answer_with(Reply(after=gate))
    abort = sender.send_at_once(call(receiver.url), told)
    assert abort is not None
    abort()
    gate.set()
    assert isinstance(await sender.send(call(receiver.url)), Response)
    assert (told.results, receiver.connections_made) == ([], 2)


async def test_a_call_ends_with_its_time(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """A target that never answers is given up when the call's seconds are over, and may have had the call."""
    await sender.send(call(receiver.url))
    receiver.answer_with(Reply(after=asyncio.Event()))
    told = Told()
    sender.send_at_once(call(receiver.url, timeout_seconds=0.1), told)
    result = await told.result()
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.TIMEOUT, True)


async def test_a_dropped_connection_is_told(sender: HttpSender, receiver: WebhookReceiver) -> None:
    """A target that closes without an answer may have had the call: nothing is sent again."""
    await sender.send(call(receiver.url))
    receiver.answer_with(Reply(close_without_answer=True))
    told = Told()
    sender.send_at_once(call(receiver.url), told)
    result = await told.result()
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent, len(receiver.calls)) == (FailureKind.DISCONNECTED, True, 2)


async def test_what_may_not_be_called_is_left_to_the_other_way(receiver: WebhookReceiver) -> None:
    """A refused address does nothing at once: `send` says why."""
    sender = HttpSender(Guard((), allow_http=True), connections=1)
    told = Told()
    assert sender.send_at_once(call(receiver.url), told) is None
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Failure)
    assert (result.kind, told.results, receiver.calls) == (FailureKind.BLOCKED, [], [])
    await sender.close()
