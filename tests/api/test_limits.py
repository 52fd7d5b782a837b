"""What one client can make long or slow has a limit, and what is over it is refused as a problem document (E1)."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs

from countwheel.api.protocol import MAX_HEADERS, MAX_TARGET_BYTES, ConnectionLimits
from countwheel.api.server import HttpServer
from countwheel.config import SettingError, Settings, read_settings
from countwheel.port import allow_open_files
from harness import Node, eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class App:
    """Says how long the body was. What it has seen of requests is kept; it waits for `free`."""

    def __init__(self) -> None:
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.cut_off = asyncio.Event()
        self.asked = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, scope, receive, send) -> None:
        self.headers.append(scope["headers"])
        self.asked.set()
        await self.free.wait()
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.cut_off.set()
            body = b""
        await PlainTextResponse(f"read {len(body)}")(scope, receive, send)


class Client:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    @asynccontextmanager
    async def sending(self, part: bytes, pause: float = 0.0) -> AsyncIterator[None]:
        """Send the same again and again until the block ends."""
        done = asyncio.Event()

        async def send() -> None:
            while not done.is_set():
                await self.send(part)
                await asyncio.wait({waiting}, timeout=pause)

        waiting, sender = asyncio.create_task(done.wait()), asyncio.create_task(send())
        try:
            yield
        finally:
            done.set()
            await asyncio.gather(waiting, sender, return_exceptions=True)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return the next answer."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.split("\r\n")[:-2]
            headers = dict(line.lower().split(": ", 1) for line in lines)
            return int(status.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def ended(self) -> bytes:
        """Return what still comes, when the server has closed."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def refused(self, status: int, kind: str) -> dict[str, str]:
        """Return the headers of a problem, after which the connection has ended."""
        found, headers, body = await self.answer()
        assert (found, json.loads(body)["type"]) == (status, f"/docs/problems/{kind}"), body
        assert json.loads(body)["status"] == status
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert await self.ended() == b""
        return headers

    async def close(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


class Served:
    """A server with an application of the test's own."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self._port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self._port)))
        return self._clients[-1]

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def served(**limits: float) -> AsyncIterator[Served]:
    """Serve until the block ends."""
    app = App()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with HttpServer(app, listener, ConnectionLimits(**limits)):
            serving = Served(app, listener.getsockname()[1])
            try:
                yield serving
            finally:
                app.free.set()
                await serving.close()


def headers(count: int, size: int = 1) -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (number, b"v" * size) for number in range(count))


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (GET + headers(MAX_HEADERS), 431, "headers-too-large"),
        (GET + headers(70, 1000), 431, "headers-too-large"),
        (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: x\r\n", 414, "target-too-long"),
        (b"GET /?" + b"q" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: x\r\n", 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n", 400, "invalid-request"),
    ],
    ids=["many headers", "large headers", "long path", "long query", "no header"],
)
async def test_e1_a_head_over_the_limit_is_refused(head: bytes, status: int, kind: str) -> None:
    """E1: too many headers, too large ones and a target too long are problems, and nothing of ours sees the request."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(head + b"\r\n")
        await client.refused(status, kind)
        assert serving.app.headers == []


@pytest.mark.parametrize(
    "head",
    [
        b"Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Host: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"Host: x\r\nContent-Length: +3\r\n",
        b"Host: x\r\nTransfer-Encoding: chunked, identity\r\n",
        b"Host: x\r\nTransfer-Encoding : chunked\r\n",
        b"Host: x\r\nX: a\r\n folded\r\n",
        b"Host: x\r\nX: a\nContent-Length: 3\r\n",
        b"Host: x\r\nX: a\x00b\r\n",
        b"Host: x\r\nHost: y\r\n",
        b"X: y\r\n",
    ],
)
async def test_e1_what_two_readers_would_read_differently_is_refused(head: bytes) -> None:
    """E1: nobody smuggles a request past a proxy, and nobody signs one host and calls another (RFC 9112)."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(b"POST / HTTP/1.1\r\n" + head + b"\r\n0\r\n\r\n")
        await client.refused(400, "invalid-request")
        assert serving.app.headers == []


async def test_a_head_at_the_limit_is_taken() -> None:
    """A hundred headers, and a path of 8 KiB, are none too many."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(GET + headers(MAX_HEADERS - 1) + b"\r\n")
        assert (await client.answer())[0] == 200
        await client.send(b"GET /" + b"a" * (MAX_TARGET_BYTES - 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [(GET + b"X: ", b"a" * 1024, 431), (b"GET /", b"a" * 1024, 431), (GET, b"X: v\r\n" * 100, 431), (b"", b"a", 400)],
    ids=["value", "target", "headers", "nothing"],
)
async def test_e1_a_head_without_an_end_is_cut_off(start: bytes, more: bytes, status: int) -> None:
    """E1: what of a head has come is counted before its end: nobody fills our memory with one."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(start)
        async with client.sending(more):
            assert (await client.answer())[0] == status


async def test_pipelined_requests_are_not_taken_for_one_long_head() -> None:
    """A thousand requests in one write are a thousand requests, whatever the last of them lacks."""
    async with served(head_seconds=30) as serving:
        client = await serving.connect()
        whole = GET + headers(20, 10) + b"\r\n"
        await client.send(whole * 1000 + whole[:-9])
        for _ in range(1000):
            assert (await client.answer())[0] == 200
        await client.send(whole[-9:])
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("sent", [GET, b"G", GET + b"\r\n" + GET], ids=["headers", "one byte", "kept alive"])
async def test_e1_a_head_that_does_not_end_in_time_is_refused(sent: bytes) -> None:
    """E1: a slow head (slowloris) gets 408, on a fresh connection and on one that was used."""
    async with served(head_seconds=0.2) as serving:
        client = await serving.connect()
        await client.send(sent)
        if sent.count(b"GET") == 2:
            assert (await client.answer())[0] == 200
        await client.refused(408, "request-timeout")


async def test_a_head_that_drips_is_no_faster_for_it() -> None:
    """The time runs from the first byte, and each further byte does not begin it anew."""
    async with served(head_seconds=0.3) as serving:
        client = await serving.connect()
        await client.send(GET)
        async with client.sending(b"X: y\r\n", pause=0.02):
            assert (await client.answer())[0] == 408


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_without_a_request_is_closed(sent: bytes) -> None:
    """Nothing was asked, so nothing is answered."""
    async with served(head_seconds=0.2) as serving:
        client = await serving.connect()
        await client.send(sent)
        assert await client.ended() == b""


async def test_empty_lines_do_not_keep_a_used_connection_alive() -> None:
    """What a client may send between requests does not lengthen the wait for the next one."""
    async with served(head_seconds=0.2) as serving:
        client = await serving.connect()
        await client.send(GET + b"\r\n")
        assert (await client.answer())[0] == 200
        await client.send(b"\r\n")
        assert await client.ended() == b""


async def test_e1_a_body_that_does_not_end_in_time_is_refused() -> None:
    """E1: 408, and the handler is told that its client is gone."""
    async with served(body_seconds=0.2) as serving:
        client = await serving.connect()
        await client.send(POST + b"3\r\nabc\r\n")
        await client.refused(408, "request-timeout")
        await asyncio.wait_for(serving.app.cut_off.wait(), 10)


async def test_the_time_in_which_we_do_not_read_is_not_the_clients() -> None:
    """A body that waits for a slow handler is not slow."""
    async with served(body_seconds=0.1) as serving:
        serving.app.free.clear()
        client = await serving.connect()
        size = 300_000
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
        await serving.app.asked.wait()
        late = await serving.connect()
        await late.send(POST)
        await late.refused(408, "request-timeout")  # the same time was up for somebody else
        serving.app.free.set()
        assert (await client.answer())[2] == b"read 300000"


@pytest.mark.parametrize("start", [b"3;", b"0\r\nX: "], ids=["extension", "trailer"])
async def test_e1_trailers_and_chunk_extensions_have_a_limit_too(start: bytes) -> None:
    """E1: what is in a chunked body and is no body is cut off at 64 KiB."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(POST + start)
        async with client.sending(b"a" * 1024):
            assert (await client.answer())[0] == 431


async def test_a_trailer_is_no_header() -> None:
    """RFC 9110, section 6.5.1: what comes behind the body cannot change what was judged before it."""
    async with served() as serving:
        client = await serving.connect()
        await client.send(POST + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        assert (await client.answer())[2] == b"read 3"
        assert [name for name, _ in serving.app.headers[0]] == [b"host", b"transfer-encoding"]


async def test_e1_one_connection_too_many_is_refused_and_the_others_live() -> None:
    """E1: 503 with Retry-After; who is in is served on, and whoever leaves makes room."""
    async with served(max_connections=2) as serving:
        first, second = await serving.connect(), await serving.connect()
        for client in (first, second):
            await client.send(GET + b"\r\n")
            assert (await client.answer())[0] == 200
        third = await serving.connect()
        await third.send(GET + b"\r\n")
        assert (await third.refused(503, "too-many-connections"))["retry-after"] == "1"
        await third.close()
        await first.send(GET + b"\r\n")
        assert (await first.answer())[0] == 200
        await first.send(GET + b"Connection: close\r\n\r\n")
        await first.answer()
        assert await first.ended() == b""
        await first.close()
        fourth = await serving.connect()
        await fourth.send(GET + b"\r\n")
        assert (await fourth.answer())[0] == 200


async def test_an_answer_under_way_is_not_mixed_with_a_refusal() -> None:
    """A pipelined request that is refused does not harm the one before it, whose answer is the last."""
    async with served() as serving:
        serving.app.free.clear()
        client = await serving.connect()
        await client.send(GET + b"\r\n")
        await serving.app.asked.wait()
        await client.send(GET + headers(MAX_HEADERS) + b"\r\n")
        other = await serving.connect()
        await other.send(GET + headers(MAX_HEADERS) + b"\r\n")
        await other.refused(431, "headers-too-large")
        serving.app.free.set()
        assert (await client.answer())[2] == b"read 0"
        assert await client.ended() == b""


async def test_whoever_does_not_take_the_answer_is_cut_off() -> None:
    """A client that asks and does not read holds its connection for no longer than a body may take."""
    asked = asyncio.Event()

    async def large(scope, receive, send) -> None:
        await PlainTextResponse("a" * 32 * 1_048_576)(scope, receive, send)
        asked.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with HttpServer(large, listener, ConnectionLimits(body_seconds=0.2)) as server:
            with socket.create_connection(listener.getsockname()) as client:
                client.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(client, GET + b"\r\n")
                await asyncio.wait_for(asked.wait(), 10)
                connections = server._server.server_state.connections
                assert len(connections) == 1

                async def is_gone() -> bool:
                    return not connections

                await eventually(is_gone)


async def test_e1_the_settings_reach_the_server(node: Node) -> None:
    """E1: the form of the token endpoint, the query and the headers are bounded on a whole node as well."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    node.api.token = None
    long = await node.api.call("POST", "/oauth/token", data=b"a" * 20_000, headers=form)
    assert (long.status, long.json["status"]) == (413, 413)
    many = await node.api.call("POST", "/oauth/token", data=b"&".join(b"a%d=" % n for n in range(30)), headers=form)
    assert (many.status, many.json["error"]) == (400, "invalid_request")
    query = await node.api.call("GET", "/v1/jobs?page_token=" + "a" * MAX_TARGET_BYTES)
    assert (query.status, query.json["type"]) == (414, "/docs/problems/target-too-long")


@pytest.fixture
def few_files() -> Iterator[int]:
    """Allow this process few open files, and give it back what it had; yields the most that it may ask for."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_files_may_be_open_as_connections_are_taken(few_files: int) -> None:
    """The limit of most shells is far below the number of connections: it is raised, or a warning says what to do."""
    needed = 700 + 100 + 256
    with capture_logs() as logs:
        allow_open_files(Settings(max_connections=700, concurrency=100))
    assert (resource.getrlimit(resource.RLIMIT_NOFILE)[0], logs) == (min(needed, few_files), [])
    with capture_logs() as logs:
        allow_open_files(Settings(max_connections=2_000_000_000))
    assert (logs[0]["log_level"], logs[0]["allowed"]) == ("warning", few_files)


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_CONNECTIONS", "0"), ("HEAD_SECONDS", "0.5"), ("BODY_SECONDS", "soon")]
)
def test_limits_that_limit_nothing_are_refused(name: str, value: str) -> None:
    """The error names the variable and what would be right."""
    with pytest.raises(SettingError, match=f"COUNTWHEEL_{name}: '{value}' is not a .* from "):
        read_settings({f"COUNTWHEEL_{name}": value}, development=False)
