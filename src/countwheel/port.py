"""The port that a node is reached at: its socket, and its certificate."""

import asyncio
import signal
import socket

from countwheel.api.tls import ServerTls
from countwheel.clock import SystemClock
from countwheel.config import Settings


class CannotListenError(Exception):
    """The port cannot be had, and what to do about it."""


def listen(settings: Settings) -> socket.socket:
    """Return the socket: a new one that is bound, or the one that was inherited. Raises `CannotListenError`."""
    if settings.listener_fd:
        return socket.socket(fileno=settings.listener_fd)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise CannotListenError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): "
            "stop what is there, or set COUNTWHEEL_PORT to another port"
        ) from error
    listener.set_inheritable(False)
    return listener


def server_tls(settings: Settings) -> ServerTls | None:
    """Return what the port speaks TLS with, if it does. SIGHUP has the files read again. Raises `TlsError`."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    tls = ServerTls(settings.tls_cert_file, settings.tls_key_file, SystemClock())
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tls.ask)
    return tls
