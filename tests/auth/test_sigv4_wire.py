"""A1: what real clients sign and send is verified over the bytes that came through our own HTTP server."""

import asyncio
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Queue

import pycurl
import pytest
from botocore.httpsession import URLLib3Session
from signers import KEY_ID, REGION, SECRET, sign, verify
from starlette.types import Receive, Scope, Send

from countwheel.api.protocol import ConnectionLimits
from countwheel.api.server import HttpServer
from countwheel.auth.sigv4 import REFUSED, AmbiguousPathError, SignatureError, WireRequest

CURL = shutil.which("curl")
SIGNER = f"aws:amz:{REGION}:countwheel"
RUN = "/v1/jobs/01a2d043-4800-85f5-a8b9-e01947c91b19/run/01a2d043-4800-85f5-a8b9-e01947c91b20/"
ESCAPES = "/v1/calendars/%C3%A9t%C3%A9%202026"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client is to send."""

    method: str
    target: str
    body: bytes | None = None
    headers: tuple[str, ...] = ()


class Capture:
    """An HTTP server, ours, whose application notes requests as they come."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._came: Queue[WireRequest] = Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self._came.put(
            WireRequest(scope["method"], scope["raw_path"], scope["query_string"], list(scope["headers"]), body)
        )
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def came(self) -> WireRequest:
        """Return the request that came."""
        return self._came.get(timeout=10)


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    """A server on a thread of its own: the clients block."""
    listener = socket.create_server(("127.0.0.1", 0))
    noted = Capture("http://{}:{}".format(*listener.getsockname()))
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with HttpServer(noted, listener, ConnectionLimits()):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    yield noted
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
    listener.close()


def botocore(url: str, asked: Asked) -> None:
    """Botocore's signer and botocore's transport."""
    headers = [tuple(re.split(": ?", header, maxsplit=1)) for header in asked.headers]
    request = sign(asked.method, url + asked.target, body=asked.body or b"", headers=headers)
    URLLib3Session().send(request.prepare())


def libcurl(url: str, asked: Asked) -> None:
    """A libcurl of today, out of a wheel."""
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, url + asked.target)
    handle.setopt(pycurl.AWS_SIGV4, SIGNER)
    handle.setopt(pycurl.USERPWD, f"{KEY_ID}:{SECRET}")
    handle.setopt(pycurl.HTTPHEADER, list(asked.headers))
    if asked.body is not None:
        handle.setopt(pycurl.POSTFIELDS, asked.body)
    handle.setopt(pycurl.CUSTOMREQUEST, asked.method)
    handle.perform()
    handle.close()


def curl(url: str, asked: Asked) -> None:
    """`curl --aws-sigv4`, as this machine has it."""
    arguments = [CURL, "--silent", "--show-error", "--aws-sigv4", SIGNER, "--user", f"{KEY_ID}:{SECRET}"]
    arguments += ["--request", asked.method, *(part for header in asked.headers for part in ("--header", header))]
    arguments += [] if asked.body is None else ["--data-binary", "@-"]
    subprocess.run([*arguments, url + asked.target], input=asked.body, check=True, timeout=30)


def curl_version() -> tuple[int, ...]:
    if CURL is None:
        return ()
    line = subprocess.run([CURL, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, line.split()[1].split(".")[:2]))


Client = Callable[[str, Asked], None]
no_curl = pytest.mark.skipif(curl_version() < (7, 86), reason="no curl here, or one before 7.86")
CLIENTS = [botocore, libcurl, pytest.param(curl, marks=no_curl)]


def check_both_ways(came: WireRequest) -> None:
    """Accepted with the secret, and with no other."""
    assert verify(came).access_key_id == KEY_ID
    with pytest.raises(SignatureError, match=re.escape(REFUSED)):
        verify(came, secret=SECRET + "x")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "asked",
    [
        Asked("GET", "/v1/jobs"),
        Asked("GET", "/"),
        Asked("GET", ""),
        Asked("GET", "/v1/jobs?page_size=5&status=ACTIVE&label=a&label=B&label=A&empty=&bare"),
        Asked("GET", "/v1/runs?from=2026-11-25T10:00:00Z&label=a%20b%2Fc%2Bd&note=caf%C3%A9"),
        Asked("GET", "/v1/jobs?q=two+words&at=12:00&p=@,;:$~!*'()"),
        Asked("GET", "/v1/calendars/a:b@c,d=e!$&'()*+~_-."),
        Asked("POST", "/v1/jobs", '{"job_payload": {"ü": "☃"}}'.encode(), ("Content-Type: application/json",)),
        Asked("POST", "/v1/jobs", b"{}", ('Idempotency-Key: "a  b"', "X-Amz-Meta: 1", "X-Note:   a   b\t c  ")),
        Asked("POST", "/v1/jobs:pause?dry_run=true", b""),
        Asked("PUT", "/v1/secrets/s", bytes(range(1, 256)) * 300, ("Content-Type: application/octet-stream",)),
        Asked("DELETE", RUN),
    ],
    ids=lambda asked: f"{asked.method} {asked.target}",
)
def test_a1_what_clients_sign_and_send_is_accepted(capture: Capture, client: Client, asked: Asked) -> None:
    """A1: as they are, whatever each of them makes of a path and a query."""
    client(capture.url, asked)
    came = capture.came()
    assert (came.method, came.body) == (asked.method, asked.body or b"")
    check_both_ways(came)


@pytest.mark.parametrize("client", [botocore, libcurl])
@pytest.mark.parametrize("target", [ESCAPES, "/v1/calendars/100%25?q=%26"])
def test_a1_escapes_in_a_path_are_encoded_again(capture: Capture, client: Client, target: str) -> None:
    """A1: spaces and UTF-8 in paths."""
    client(capture.url, Asked("GET", target))
    check_both_ways(capture.came())


@pytest.mark.skipif(not (7, 86) <= curl_version() < (8, 0), reason="no curl 7 here")
def test_a1_an_old_curl_does_not_sign_escapes_in_a_path_as_asked(capture: Capture) -> None:
    """A1: it signs them as sent. To accept that would let `/a%2520b` pass under a signature made for `/a%20b`."""
    curl(capture.url, Asked("GET", ESCAPES))
    with pytest.raises(SignatureError, match=re.escape(REFUSED)):
        verify(capture.came())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("target", ["/v1//jobs", "/v1/jobs/a%2Eb", "/v1/jobs/a%2Fb", "/v1/jobs/a%5Cb"])
def test_a2_a_path_that_can_be_read_in_two_ways_is_refused(capture: Capture, client: Client, target: str) -> None:
    """A2: however well signed."""
    client(capture.url, Asked("GET", target))
    with pytest.raises(AmbiguousPathError):
        verify(capture.came())


def test_a1_botocores_parameters_are_accepted_as_its_transport_writes_them(capture: Capture) -> None:
    """A1: it signs a space as `%20` and sends it as `+`."""
    params = [("label", "two words"), ("label", "a+b"), ("état", "é~*"), ("empty", "")]
    URLLib3Session().send(sign("GET", f"{capture.url}/v1/jobs", params=params).prepare())
    came = capture.came()
    assert b"two+words" in came.raw_query
    check_both_ways(came)


def test_a1_botocores_date_header_is_accepted(capture: Capture) -> None:
    """A1: a request that has a `Date` is signed with that one, which botocore replaces."""
    URLLib3Session().send(sign("GET", f"{capture.url}/v1/jobs", headers=[("Date", "now")]).prepare())
    came = capture.came()
    assert "x-amz-date" not in dict(came.headers)
    check_both_ways(came)


def test_a1_repeated_headers_are_joined_in_the_order_of_the_wire(capture: Capture) -> None:
    """A1: as libcurl sends them."""
    libcurl(capture.url, Asked("GET", "/v1/jobs", headers=("X-Note: b", "X-Note:  a  c ", "X-Amz-Meta: 1")))
    came = capture.came()
    assert [value for name, value in came.headers if name == b"x-note"] == [b"b", b"a  c "]
    check_both_ways(came)
