"""The HTTP server: uvicorn on a socket that is bound already, stopped by us and not by signals of its own."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from countwheel.api.protocol import ConnectionLimits, LimitedProtocol
from countwheel.api.tls import ServerTls

BACKLOG = 2048
"""Connections that may wait to be taken."""
_STOP_SECONDS = 10
_TICK_SECONDS = 0.1
_DRAINED_SECONDS = 0.002
_KEEP_ALIVE_SECONDS = 75
_GOODBYE_SECONDS = 2
"""How long a client may take to end its side of a TLS connection."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._limits = limits
        self._tls = tls
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root: the engine and the database stop with us, in order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, each with a protocol of ours."""
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=listening,
                backlog=BACKLOG,
                ssl=self._tls,
                # Before its handshake a connection is not one of those that are counted.
                ssl_handshake_timeout=self._limits.head_seconds if self._tls is not None else None,
                ssl_shutdown_timeout=_GOODBYE_SECONDS if self._tls is not None else None,
            )
            for listening in sockets or ()
        ]
        self.started = True

    def _protocol(self) -> LimitedProtocol:
        return LimitedProtocol(self.config, self.server_state, self._limits)

    async def main_loop(self) -> None:
        """Do what is to be done every tenth of a second, until told to stop; a stop is not waited for till the next."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let the requests under way end, for a while, then end them.

        uvicorn's own waits a tenth of a second in any case, and in steps of that.
        """
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 (there is no event)
                    await asyncio.sleep(_DRAINED_SECONDS)  # noqa: TID251 (as above)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()


class HttpServer:
    """Serves an application from `__aenter__` to `__aexit__`."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, limits: ConnectionLimits, tls: ServerTls | None = None
    ) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
            ),
            limits,
            tls.context if tls is not None else None,
        )
        self._tls = tls
        self._watching: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start, and return when connections are taken."""
        # Accepted connections inherit it. Head and body of an answer leave as two segments: without this, and on a loop
        # that does not set it by itself, the second waits 40 ms for the client's delayed ACK.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.listen(BACKLOG)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the HTTP server ended before it had started")
            await asyncio.sleep(0)  # noqa: TID251 (gives way; uvicorn has no event for this)
        if self._tls is not None:
            self._watching = asyncio.create_task(self._tls.watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop taking connections, wait for the requests under way, and return."""
        if self._watching is not None:
            self._watching.cancel()
        self._server.should_exit = True
        self._server.stopping.set()
        if self._task is not None:
            await self._task

    async def wait_ended(self) -> None:
        """Return when the server has ended by itself."""
        if self._task is not None:
            await asyncio.shield(self._task)
