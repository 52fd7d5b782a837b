"""W5: names that lead elsewhere from one look-up to the next."""

import asyncio
import socket
from itertools import count

import pytest

from countwheel.delivery import resolver
from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender
from countwheel.domain.attempt import Call, Failure, FailureKind, Response
from countwheel.testing import WebhookReceiver
from harness import LOOPBACK


def call(url: str) -> Call:
    return Call(url, (("content-type", "application/json"),), b"{}", 5.0)


def answer_in_turn(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let each look-up find the next of these addresses, and the last one for good; return what was asked."""
    asked: list[str] = []
    turn = count()

    def answer(host: str, port: int, *_args: object, **_named: object) -> list[tuple]:
        asked.append(host)
        address = addresses[min(next(turn), len(addresses) - 1)]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every look-up find all of these addresses, in this order."""

    def answer(_host: str, port: int, *_args: object, **_named: object) -> list[tuple]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_w5_the_judged_address_is_the_one_that_is_connected_to(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name leads inside from its second look-up on: there is one look-up, and the call goes where it led."""
    asked = answer_in_turn(monkeypatch, "127.0.0.1", "10.0.0.1")
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4)
    result = await sender.send(call(f"http://rebinding.test:{receiver.port}/"))
    await sender.close()
    assert isinstance(result, Response)
    assert result.trace is not None
    assert (result.trace.address, asked) == ("127.0.0.1", ["rebinding.test"])


async def test_w5_a_name_that_leads_inside_by_now_is_blocked_whatever_connection_is_there(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its answer is old the name is asked for again, and judged: a kept-alive connection is no way past."""
    monkeypatch.setattr(resolver, "LIFE_SECONDS", 0.0)
    answer_in_turn(monkeypatch, "127.0.0.1", "10.0.0.1")
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4)
    first = await sender.send(call(f"http://rebinding.test:{receiver.port}/"))
    second = await sender.send(call(f"http://rebinding.test:{receiver.port}/"))
    await sender.close()
    assert isinstance(first, Response)
    assert isinstance(second, Failure)
    assert (second.kind, second.maybe_sent, len(receiver.calls)) == (FailureKind.BLOCKED, False, 1)


async def test_look_ups_of_one_name_are_shared_and_a_hanging_one_holds_up_no_other(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten calls to a name ask once; a name whose look-up hangs fails by itself, and others are called meanwhile."""
    loop = asyncio.get_running_loop()
    released = asyncio.Event()
    asked: list[str] = []

    def answer(host: str, port: int, *_args: object, **_named: object) -> list[tuple]:
        asked.append(host)
        if host.startswith("hangs"):
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(resolver, "LOOKUP_SECONDS", 0.3)
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=20)
    hanging = [asyncio.create_task(sender.send(call(f"http://hangs{n}.bad/"))) for n in range(20)]
    good = await asyncio.gather(*(sender.send(call(f"http://good.test:{receiver.port}/")) for _ in range(10)))
    failed = await asyncio.gather(*hanging)
    released.set()
    await sender.close()
    assert all(isinstance(result, Response) for result in good)
    assert asked.count("good.test") == 1
    assert {(result.kind, result.maybe_sent) for result in failed if isinstance(result, Failure)} == {
        (FailureKind.DNS, False)
    }


async def test_addresses_are_tried_in_order_until_one_takes_the_connection(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that refuse, one that listens, one that is not needed: one request, to the third."""
    answer_with(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.4")
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4)
    result = await sender.send(call(f"http://several.test:{receiver.port}/"))
    await sender.close()
    assert isinstance(result, Response)
    assert result.trace is not None
    assert (result.trace.address, len(receiver.calls)) == ("127.0.0.1", 1)


async def test_where_no_address_takes_the_connection_nothing_was_sent(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure says how many were tried."""
    answer_with(monkeypatch, "127.0.0.2", "127.0.0.3")
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=1)
    for _ in range(2):  # and the room in the pool is given up
        result = await sender.send(call(f"http://several.test:{receiver.port}/"))
        assert isinstance(result, Failure)
        assert (result.kind, result.maybe_sent) == (FailureKind.CONNECT, False)
        assert "127.0.0.3" in result.detail
        assert "2 addresses" in result.detail
    await sender.close()


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "six.test"])
async def test_a_target_on_ipv6_is_called(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address in any spelling, and by a name; `Host` has the brackets."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    if host == "six.test":
        answer_with(monkeypatch, "::1")
    sender = HttpSender(Guard(LOOPBACK, allow_http=True), connections=4)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        async with await asyncio.start_server(answer, sock=listener):
            result = await sender.send(call(f"http://{host}:{port}/"))
            await sender.close()
    assert isinstance(result, Response), result
    assert result.trace is not None
    assert result.trace.address == "::1"
    named = host if host == "six.test" else "[::1]"
    assert f"\r\nhost: {named}:{port}\r\n".encode() in heads[0]
