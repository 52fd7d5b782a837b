"""Makes connections: to the address that was judged, and over TLS to nobody but the one whose name was asked for."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial

from countwheel.delivery.http1 import Connection, Place
from countwheel.delivery.pool import Pool
from countwheel.delivery.way import UnsentError, Way, milliseconds
from countwheel.domain.attempt import FailureKind


@functools.cache
def default_tls() -> ssl.SSLContext:
    """Return the context that trusts whom the system trusts. Reading its certificates takes 30 ms: once is enough."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Connects, once room in the pool is taken."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pool: Pool, tls: ssl.SSLContext, clock: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._tls = tls
        self._clock = clock

    async def connect(self, places: Sequence[Place], seconds: float, way: Way) -> Connection:
        """Return a connection to the first of the places that takes one; the room for it is used, or given up.

        Raises `UnsentError`; it is for the caller to stop at `seconds`.
        """
        made: Connection | None = None
        until = self._loop.time() + seconds
        try:
            for left_over, place in zip(range(len(places) - 1, -1, -1), places, strict=True):
                way.address, way.port = place.address, place.port
                left = until - self._loop.time()
                try:
                    # An address that swallows packets must leave time for the others.
                    async with asyncio.timeout(left / (left_over + 1) if left_over else None):
                        made = await self._connect_to(place, left, way)
                        return made
                except OSError as error:  # a TimeoutError is one, too
                    if not left_over:
                        raise UnsentError(FailureKind.CONNECT, _refused(places, error)) from error
            raise UnsentError(FailureKind.DNS, "a name without an address")
        finally:
            if made is not None:
                self._pool.connected(made)
            else:
                self._pool.no_connection()

    async def _connect_to(self, place: Place, seconds: float, way: Way) -> Connection:
        began = self._clock()
        plain = await self._connected_socket(place)
        connected = self._clock()
        way.connect_ms = milliseconds(began, connected)
        make = partial(self._pool.new_connection, place)
        # The transport owns the socket from here on, and closes it where the connection cannot be made.
        if not place.is_tls:
            _, connection = await self._loop.create_connection(make, sock=plain)
            return connection
        try:
            _, connection = await self._loop.create_connection(
                make,
                sock=plain,
                ssl=self._tls,
                server_hostname=place.host,
                ssl_handshake_timeout=max(seconds, 0.0) + 1.0,  # the caller stops before that
            )
        except (ssl.SSLError, ConnectionError) as error:
            raise UnsentError(FailureKind.TLS, f"{place.host}: {_said(error)}") from error
        way.tls_ms = milliseconds(connected, self._clock())
        return connection

    async def _connected_socket(self, place: Place) -> socket.socket:
        plain = socket.socket(socket.AF_INET6 if ":" in place.address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.setblocking(False)  # noqa: FBT003 (the standard library's own)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(plain, (place.address, place.port))
        except BaseException:
            plain.close()
            raise
        return plain


def _refused(places: Sequence[Place], error: OSError) -> str:
    tried = f" (the last of {len(places)} addresses)" if len(places) > 1 else ""
    return f"cannot connect to {places[-1].authority}{tried}: {error.strerror or error}"


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(error) or "the connection was closed within the TLS handshake"
