"""Whom the sender talks to over TLS, and what it knows of a call that TLS kept from arriving."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from certificates import make_certificate
from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind, Response
from harness import LOOPBACK

BODY = b'{"n":1}'


@dataclass
class Target:
    """A TLS server that answers 200, and what has reached it."""

    port: int
    received: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def target(context: ssl.SSLContext) -> AsyncIterator[Target]:
    found = Target(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.received.append(await reader.readuntil(BODY))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


async def send(url: str, tls: ssl.SSLContext, seconds: float = 5.0) -> AttemptResult:
    sender = HttpSender(Guard(LOOPBACK, allow_http=False), connections=4, tls=tls)
    try:
        return await sender.send(Call(url, (("content-type", "application/json"),), BODY, seconds))
    finally:
        await sender.close()


def is_unsent_tls(result: AttemptResult) -> bool:
    return isinstance(result, Failure) and (result.kind, result.maybe_sent) == (FailureKind.TLS, False)


@pytest.mark.parametrize(
    ("host", "made", "accepted"),
    [
        ("localhost", {"addresses": ()}, True),
        ("localhost", {"names": ("elsewhere.example",), "addresses": ()}, False),
        ("localhost", {"names": ("elsewhere.example",), "addresses": ("127.0.0.1",)}, False),
        ("127.0.0.1", {"names": ("elsewhere.example",), "addresses": ("127.0.0.1",)}, True),
        ("127.0.0.1", {"names": ("localhost",), "addresses": ()}, False),
        ("127.0.0.1", {"names": ("localhost",), "addresses": ("127.0.0.2",)}, False),
        ("localhost", {"days": -1}, False),
    ],
)
async def test_a_certificate_is_held_against_the_name_and_the_day(
    host: str, made: dict, accepted: bool, tmp_path: Path
) -> None:
    """Another name, an address that is not named, a day past: a TLS failure, and certainly nothing was sent."""
    shown = make_certificate(tmp_path, **made)
    async with target(shown.server_context()) as server:
        result = await send(f"https://{host}:{server.port}/", shown.client_context())
        if accepted:
            assert result == Response(200, b"ok", None)
        else:
            assert is_unsent_tls(result), result
        assert len(server.received) == accepted


async def test_a_target_that_closes_within_the_handshake_was_sent_nothing(tmp_path: Path) -> None:
    """Plain bytes in place of a handshake, and an end in the middle of it."""
    trusting = make_certificate(tmp_path).client_context()
    for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said) -> None:
            await reader.read(1)
            writer.write(said)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            result = await send(f"https://localhost:{port}/", trusting)
        assert isinstance(result, Failure)
        assert not result.maybe_sent
        assert result.kind in {FailureKind.TLS, FailureKind.CONNECT, FailureKind.DISCONNECTED}


async def test_a_handshake_without_an_end_was_sent_nothing(tmp_path: Path) -> None:
    """The whole time passes within the handshake, and the connection is closed then."""
    hung_up = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await send(f"https://localhost:{port}/", make_certificate(tmp_path).client_context(), 0.3)
        await hung_up.wait()
    assert isinstance(result, Failure)
    assert not result.maybe_sent


async def test_a_target_that_goes_after_the_handshake_may_have_the_call(tmp_path: Path) -> None:
    """It has read the request and closes without a word: whether it took it, nobody knows."""
    shown = make_certificate(tmp_path)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        writer.transport.abort()

    async with await asyncio.start_server(take, "127.0.0.1", 0, ssl=shown.server_context()) as server:
        port = server.sockets[0].getsockname()[1]
        result = await send(f"https://localhost:{port}/", shown.client_context())
    assert isinstance(result, Failure)
    assert (result.maybe_sent, result.kind) in {(True, FailureKind.DISCONNECTED), (True, FailureKind.TLS)}


@pytest.mark.parametrize(
    ("version", "maybe_sent"), [(ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)], ids=["1.2", "1.3"]
)
async def test_an_alert_counts_by_whether_the_handshake_was_over(
    version: ssl.TLSVersion, maybe_sent: bool, tmp_path: Path
) -> None:
    """A target that wants our certificate: in TLS 1.2 that ends the handshake, in 1.3 the request is out by then."""
    shown = make_certificate(tmp_path)
    context = shown.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(shown.certificate)
    context.minimum_version = context.maximum_version = version
    async with target(context) as server:
        result = await send(f"https://localhost:{server.port}/", shown.client_context())
    assert isinstance(result, Failure)
    assert result.maybe_sent is maybe_sent, result
    assert result.kind in ({FailureKind.TLS, FailureKind.DISCONNECTED} if maybe_sent else {FailureKind.TLS})
    assert server.received == []
