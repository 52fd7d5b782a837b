"""W5 and W8: a call is made once, to the address that was judged, within its time, and no more is read than said."""

import asyncio
import gzip
import socket
import ssl
from pathlib import Path

import pytest

from certificates import make_certificate
from countwheel.delivery.answer import HEAD_BYTES, MAX_RESPONSE_BYTES
from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender, RightLostError, Sender
from countwheel.domain.attempt import Call, Failure, FailureKind, Response
from countwheel.testing import Reply, WebhookReceiver
from harness import LOOPBACK, free_port

BODY = b'{"hello":"world"}'
HEADERS = (("content-type", "application/json"), ("webhook-id", "run-1"))


def call(url: str, *, timeout_seconds: float = 5.0) -> Call:
    return Call(url, HEADERS, BODY, timeout_seconds)


async def test_a_call_arrives_as_it_was_made(sender: Sender, receiver: WebhookReceiver) -> None:
    """Method, path, headers and body are what the call says, and nothing is added that a receiver could stumble on."""
    result = await sender.send(call(f"{receiver.url}/a%20b?c=%2F&d"))
    assert result == Response(200, b"ok", None)
    (got,) = receiver.calls
    assert (got.path, got.body) == ("/hook/a%20b?c=%2F&d", BODY)
    assert got.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/json",
        "webhook-id": "run-1",
        "content-length": str(len(BODY)),
    }


async def test_connections_are_kept_alive(sender: Sender, receiver: WebhookReceiver) -> None:
    """Ten calls, one after the other, share a connection."""
    for _ in range(10):
        assert isinstance(await sender.send(call(receiver.url)), Response)
    assert (len(receiver.calls), receiver.connections_made) == (10, 1)


async def test_a_dropped_connection_is_never_resent(sender: Sender, receiver: WebhookReceiver) -> None:
    """The trap: a target that reads the request and closes a kept-alive connection gets the call once, not twice."""
    assert isinstance(await sender.send(call(receiver.url)), Response)
    receiver.answer_with(Reply(close_without_answer=True))
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.DISCONNECTED, True)
    assert len(receiver.calls) == 2


async def test_a_call_that_may_not_leave_any_more_does_not(sender: Sender, receiver: WebhookReceiver) -> None:
    """Scenario "node paused past its lease": asked in the step that writes the first byte; nothing is written."""
    with pytest.raises(RightLostError):
        await sender.send(call(receiver.url), lambda: False)
    assert isinstance(await sender.send(call(receiver.url), lambda: True), Response)
    assert len(receiver.calls) == 1


async def test_a_timeout_before_there_is_a_connection_was_not_sent(sender: Sender) -> None:
    """A target that accepts and never answers the TLS handshake has not seen a byte of the request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        result = await sender.send(call(url, timeout_seconds=0.2))
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.CONNECT, False)


async def test_a_connection_that_is_said_to_close_is_not_used(sender: Sender, receiver: WebhookReceiver) -> None:
    """A target that says `Connection: close` is called over a new connection each time, without a fault."""
    receiver.answer_with(Reply(headers=(("Connection", "close"),), close_after_answer=True))
    for _ in range(5):
        assert isinstance(await sender.send(call(receiver.url)), Response)
    assert (len(receiver.calls), receiver.connections_made) == (5, 5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_w5_redirects_are_not_followed(sender: Sender, receiver: WebhookReceiver, status: int) -> None:
    """W5: the 3xx itself is the answer."""
    receiver.answer_with(Reply(status, (("Location", f"{receiver.url}/elsewhere"),)))
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Response)
    assert result.status == status
    assert len(receiver.calls) == 1


async def test_retry_after_comes_back(sender: Sender, receiver: WebhookReceiver) -> None:
    """The header is handed on as it came."""
    receiver.answer_with(Reply(503, (("Retry-After", "120"),)))
    assert await sender.send(call(receiver.url)) == Response(503, b"ok", "120")


async def test_w8_the_head_of_the_answer_is_kept(sender: Sender, receiver: WebhookReceiver) -> None:
    """W8: the first 4 KiB of a longer body; the connection can be used again."""
    receiver.answer_with(Reply(200, body=b"x" * 50_000))
    for _ in range(2):
        assert await sender.send(call(receiver.url)) == Response(200, b"x" * HEAD_BYTES, None)
    assert receiver.connections_made == 1


async def test_w8_no_more_than_64_kib_is_read(sender: Sender, receiver: WebhookReceiver) -> None:
    """W8: an endless answer costs no more than the cap; its status counts, its connection is dropped."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(BODY)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        try:
            while sent < 100_000_000:
                writer.write(b"y" * 65_536)
                sent += 65_536
                await writer.drain()
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await sender.send(call(f"http://127.0.0.1:{port}/"))
        assert result == Response(200, b"y" * HEAD_BYTES, None)
    assert sent < 20_000_000, "only what fits into socket buffers may have left beyond the cap"
    assert MAX_RESPONSE_BYTES == 65_536
    del receiver


async def test_w8_gzip_is_not_inflated(sender: Sender, receiver: WebhookReceiver) -> None:
    """W8: a bomb stays the few bytes that it is."""
    bomb = gzip.compress(b"\x00" * 50_000_000)
    receiver.answer_with(Reply(200, (("Content-Encoding", "gzip"),), bomb))
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Response)
    assert result.head == bomb[:HEAD_BYTES]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\ndrip",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndrip\r\n",
    ],
)
async def test_w8_the_total_timeout_spans_everything(
    sender: Sender, receiver: WebhookReceiver, raw: bytes | None
) -> None:
    """W8: no answer, half a head, a body that drips: the time is the call's, not each read's."""
    await sender.send(call(receiver.url))  # a connection that stands: on a busy machine, making one may take all of it
    receiver.answer_with(Reply(after=asyncio.Event()) if raw is None else Reply(raw=raw))
    result = await sender.send(call(receiver.url, timeout_seconds=0.3))
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.TIMEOUT, True)
    assert result.detail == "no whole answer within 0.3 s"


@pytest.mark.parametrize(
    "raw",
    [
        b"this is not HTTP\r\n\r\n",
        b"HTTP/1.1 banana OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
    ],
)
async def test_what_is_not_http_is_a_protocol_fault(sender: Sender, receiver: WebhookReceiver, raw: bytes) -> None:
    """Garbage ends the attempt, not the node, and it counts as sent."""
    receiver.answer_with(Reply(raw=raw, close_after_answer=True))
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Failure)
    assert result.kind in {FailureKind.PROTOCOL, FailureKind.DISCONNECTED}
    assert result.maybe_sent


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", b"HTTP/1.0 200 OK\r\n\r\nwithout length"]
)
async def test_the_status_counts_however_the_body_ends(sender: Sender, receiver: WebhookReceiver, raw: bytes) -> None:
    """The target has said what came of it: a body that is cut off does not take that back."""
    receiver.answer_with(Reply(raw=raw, close_after_answer=True))
    result = await sender.send(call(receiver.url))
    assert isinstance(result, Response)
    assert result.status == 200


async def test_nobody_listens(sender: Sender) -> None:
    """Refused: nothing was sent."""
    result = await sender.send(call(f"http://127.0.0.1:{free_port()}/"))
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.CONNECT, False)


async def test_a_name_that_does_not_resolve(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS: nothing was sent."""

    def fail(*_args: object, **_named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    result = await sender.send(call("http://nowhere.example/"))
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.DNS, False)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name resolve to these addresses, and return the list of names that are asked for."""
    asked: list[str] = []

    def answer(host: str, port: int, *_args: object, **_named: object) -> list[tuple]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


async def test_w5_every_address_of_a_name_is_judged(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """W5: one forbidden address among good ones blocks the call, and nobody is connected to."""
    sender = HttpSender(Guard((), allow_http=True), connections=10)
    resolve_to(monkeypatch, "93.184.216.34", "127.0.0.1")
    result = await sender.send(call(f"http://rebound.example:{receiver.port}/"))
    await sender.close()
    assert isinstance(result, Failure)
    assert (result.kind, result.maybe_sent) == (FailureKind.BLOCKED, False)
    assert "127.0.0.1 is refused" in result.detail
    assert receiver.connections_made == 0


async def test_w5_a_name_is_resolved_once_and_its_host_kept(
    sender: Sender, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W5: the address that was judged is the one that is connected to; the Host header stays the name's."""
    asked = resolve_to(monkeypatch, "127.0.0.1")
    result = await sender.send(call(f"http://service.example:{receiver.port}/"))
    assert isinstance(result, Response)
    assert asked == ["service.example"]
    assert receiver.calls[0].headers["host"] == f"service.example:{receiver.port}"


async def test_w5_environment_proxies_are_ignored(
    sender: Sender, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W5: a proxy would be connected to instead of the address that was judged."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert isinstance(await sender.send(call(receiver.url)), Response)


async def test_a_cancelled_call_is_aborted(sender: Sender, receiver: WebhookReceiver) -> None:
    """Cancelling closes the connection: the target notices, and the next call takes a new one."""
    receiver.answer_with(Reply(after=asyncio.Event()))
    task = asyncio.create_task(sender.send(call(receiver.url)))
    await receiver.wait_for(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    receiver.answer_with(Reply())
    assert isinstance(await sender.send(call(receiver.url)), Response)
    assert receiver.connections_made == 2


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified_with_the_name(tmp_path: Path, trusted: bool) -> None:
    """HTTPS: a trusted certificate is talked to with SNI; one that nobody signed is a TLS fault, nothing was sent."""
    certificate = make_certificate(tmp_path)
    context = certificate.server_context()
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(BODY))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    tls = certificate.client_context() if trusted else ssl.create_default_context()
    sender = HttpSender(Guard(LOOPBACK, allow_http=False), connections=10, tls=tls)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        result = await sender.send(call(f"https://localhost:{port}/"))
        await sender.close()
    assert names[0] == "localhost"
    if trusted:
        assert result == Response(200, b"ok", None)
    else:
        assert isinstance(result, Failure)
        assert (result.kind, result.maybe_sent) == (FailureKind.TLS, False)
        assert received == []


async def test_a_handshake_that_hangs_counts_as_unsent(sender: Sender, receiver: WebhookReceiver) -> None:
    """A target that takes the connection and never speaks TLS: the time is up, and certainly nothing was sent."""
    del receiver

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the caller hangs up
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await sender.send(call(f"https://127.0.0.1:{port}/", timeout_seconds=0.3))
    assert isinstance(result, Failure)
    assert result.kind in {FailureKind.TIMEOUT, FailureKind.CONNECT, FailureKind.TLS}
