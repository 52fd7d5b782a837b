"""One connection by itself: what makes it unfit before its first request, and how it writes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hostile import OK, give_way

from countwheel.clock import SystemClock
from countwheel.delivery.deadlines import Deadlines
from countwheel.delivery.http1 import Broken, Connection, Place


@dataclass(frozen=True)
class Pair:
    """A connection and the other end of it, a socket that does nothing by itself."""

    connection: Connection
    transport: asyncio.WriteTransport
    target: socket.socket


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    loop, clock = asyncio.get_running_loop(), SystemClock().monotonic
    closed = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        target, _ = listener.accept()
    ours.setblocking(False)
    place = Place(is_tls=False, host="a.test", port=80, address="127.0.0.1")
    transport, connection = await loop.create_connection(
        lambda: Connection(place, Deadlines(loop, clock), clock, lambda _: closed.set()), sock=ours
    )
    with target:
        yield Pair(connection, transport, target)
        connection.abort()
        await closed.wait()


async def test_a_new_connection_is_fit(pair: Pair) -> None:
    """Nothing was said."""
    assert pair.connection.is_fit()


async def test_a_target_that_speaks_first_is_sent_nothing(pair: Pair) -> None:
    """An answer before the very first request, not even read yet: there is nothing that it could be the answer to."""
    pair.target.sendall(OK)
    assert not pair.connection.is_fit()


async def test_a_target_that_has_hung_up_is_sent_nothing(pair: Pair) -> None:
    """Its end lies at the socket."""
    pair.target.shutdown(socket.SHUT_WR)
    assert not pair.connection.is_fit()


async def test_an_end_is_an_end_before_the_transport_says_so(pair: Pair) -> None:
    """Over TLS the transport is closed a step after the end was told; what is written between goes nowhere."""
    pair.connection.eof_received()
    assert not pair.connection.is_open


async def test_a_large_body_waits_for_its_target(pair: Pair) -> None:
    """Of 50 MB to a target that reads nothing, little more than the sockets hold is handed over."""
    ended: list[Broken | None] = []
    until = SystemClock().monotonic() + 30.0
    pair.connection.exchange(b"POST / HTTP/1.1\r\n\r\n", b"x" * 50_000_000, until, ended.append)
    await give_way()
    assert not ended
    assert pair.transport.get_write_buffer_size() < 1_000_000
