"""The sender that was measured against ours and lost: over aiohttp, everything on (decision 0015)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import ip_address

import aiohttp
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from yarl import URL

from countwheel.delivery.answer import HEAD_BYTES, MAX_RESPONSE_BYTES
from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import Abort, MayLeave, RightLostError, Told
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind, Response

_CHUNK_BYTES = 16_384
_IDLE_CONNECTION_SECONDS = 30.0
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class _Progress:
    """How far one call has come. Before it is leaving, no byte of the request can have left."""

    __slots__ = ("leaving", "may_leave", "right_lost")

    def __init__(self, may_leave: MayLeave) -> None:
        self.may_leave = may_leave
        self.leaving = False
        self.right_lost = False


_PROGRESS: ContextVar[_Progress] = ContextVar("progress")


class BlockedTargetError(OSError):
    """The guard refused an address that a target's name resolves to."""


class AiohttpSender:
    """Calls over kept-alive connections with aiohttp."""

    def __init__(self, guard: Guard, *, connections: int, tls: ssl.SSLContext | None = None) -> None:
        """`connections` is how many may be open at once, over all targets; `tls` says whom to trust, by default
        whom the system trusts.
        """
        self._guard = guard
        self._tls = tls or ssl.create_default_context()
        self._connections = connections
        self._session: ClientSession | None = None

    def send_at_once(self, _call: Call, _told: Told) -> Abort | None:
        """Not with aiohttp: every call of its is awaited."""
        return None

    async def send(self, call: Call, may_leave: MayLeave = lambda: True) -> AttemptResult:
        """Make the call once and return what came of it. Raises `RightLostError` if `may_leave` says no."""
        if refusal := self._guard.url_refusal(call.url):
            return Failure(FailureKind.BLOCKED, refusal, maybe_sent=False)
        progress = _Progress(may_leave)
        _PROGRESS.set(progress)
        try:
            async with self._opened().request(
                call.method,
                _parsed(call.url),
                data=call.body,
                headers=call.all_headers(),
                timeout=_timeout(call.timeout_seconds),
                allow_redirects=False,
            ) as response:
                head = await _read_head(response)
                return Response(response.status, head, response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if progress.right_lost:
                raise RightLostError from error
            return _failure(error, call, maybe_sent=progress.leaving)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> ClientSession:
        if self._session is None:
            connector = TCPConnector(
                resolver=_GuardedResolver(self._guard),
                use_dns_cache=False,  # every new connection is judged on what the name resolves to then
                ssl=self._tls,
                limit=self._connections,
                limit_per_host=0,
                keepalive_timeout=_IDLE_CONNECTION_SECONDS,
                # Every address must be one that the guard has seen: literals go through the resolver too.
                happy_eyeballs_delay=None,
            )
            self._session = ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_Request,
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
                raise_for_status=False,
            )
        return self._session


class _Request(ClientRequest):
    """Looks once more whether the call may leave, in the step of the event loop that writes its first byte.

    Head and body leave together. Making the connection may have taken long, and between two steps of the loop a node
    may have been frozen for longer than its lease.
    """

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write head and body, or close the connection with nothing written."""
        progress = _PROGRESS.get()
        if not progress.may_leave():
            progress.right_lost = True
            conn.close()
            return
        progress.leaving = True
        await super().write_bytes(writer, conn, content_length)


class _GuardedResolver(AbstractResolver):
    """Resolves a name once, and gives its addresses on only if the guard lets every one of them through."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        results = []
        for found_family, _, protocol, _, address in found:
            text = str(address[0])
            if refusal := self._guard.refusal(ip_address(text)):
                raise BlockedTargetError(refusal)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=found_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        if not results:
            raise OSError(None, f"{host} has no address")
        return results

    async def close(self) -> None:
        """Nothing is kept."""


@lru_cache(maxsize=4096)
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=256)
def _timeout(seconds: float) -> ClientTimeout:
    return ClientTimeout(total=seconds)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    while chunk := await response.content.read(_CHUNK_BYTES):
        yield chunk


async def _read_head(response: aiohttp.ClientResponse) -> bytes:
    """Read the response, so that its connection can be used again; drop the connection where it is too long."""
    head, total = b"", 0
    try:
        async for chunk in _chunks(response):
            total += len(chunk)
            if len(head) < HEAD_BYTES:
                head += chunk[: HEAD_BYTES - len(head)]
            if total > MAX_RESPONSE_BYTES:
                response.close()
                break
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
        response.close()  # the status has come: that is the answer, however its body ends
    return head


def _failure(error: Exception, call: Call, *, maybe_sent: bool) -> Failure:
    """Say what an exception means. `maybe_sent` tells whether a byte of the request may have left."""
    detail = str(error) or type(error).__name__
    match error:
        case aiohttp.ClientConnectorDNSError():
            cause = error.os_error
            if isinstance(cause, BlockedTargetError):
                return Failure(FailureKind.BLOCKED, str(cause), maybe_sent)
            return Failure(FailureKind.DNS, detail, maybe_sent)
        case ssl.SSLError() | aiohttp.ClientSSLError():
            return Failure(FailureKind.TLS, detail, maybe_sent)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Failure(FailureKind.CONNECT, detail, maybe_sent)
        case TimeoutError() if not maybe_sent:
            return Failure(FailureKind.CONNECT, f"no connection within {call.timeout_seconds:g} s", maybe_sent)
        case TimeoutError():
            return Failure(FailureKind.TIMEOUT, f"no whole answer within {call.timeout_seconds:g} s", maybe_sent)
        case aiohttp.InvalidURL() | aiohttp.InvalidUrlClientError():
            return Failure(FailureKind.PROTOCOL, f"not a URL to call: {detail}", maybe_sent)
        case aiohttp.ClientResponseError() | ValueError():
            return Failure(FailureKind.PROTOCOL, detail, maybe_sent)
        case _:
            return Failure(FailureKind.DISCONNECTED, detail, maybe_sent)
