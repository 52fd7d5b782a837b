"""The port that a node is reached at: its socket, and its certificate."""

import asyncio
import contextlib
import resource
import signal
import socket

import structlog

from countwheel.api.tls import ServerTls
from countwheel.clock import SystemClock
from countwheel.config import Settings

_OTHER_FILES = 256
"""What a node has open besides its clients and its targets."""
_log = structlog.get_logger(__name__)


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


def allow_open_files(settings: Settings) -> None:
    """Raise the limit of open files to what the settings ask for, as far as the system lets us; say where it does not.

    Many systems begin with 1,024, and a connection without a file is not refused: it is never taken.
    """
    needed = settings.max_connections + settings.concurrency + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        _log.warning(
            "too few open files are allowed: raise the limit (ulimit -n, LimitNOFILE), or lower "
            "COUNTWHEEL_MAX_CONNECTIONS and COUNTWHEEL_CONCURRENCY",
            allowed=soft,
            needed=needed,
        )
