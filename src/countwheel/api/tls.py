"""TLS for our own port: a certificate and its key from files, taken anew when the files change.

The pair is loaded into the one context that the server has: connections under way keep what they were made with, the
next handshake shows the new certificate. A pair that cannot be used never takes the place of one that can.
"""

import asyncio
import contextlib
import ssl
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from countwheel.clock import Clock

_EVERY_SECONDS = 10.0
_log = structlog.get_logger(__name__)

_Seen = tuple[tuple[int, int], ...]


class TlsError(Exception):
    """What is wrong with a certificate or its key, and with which file."""


class ServerTls:
    """A context that follows its files. Raises `TlsError` where they cannot be used to begin with."""

    def __init__(self, certificate: Path, key: Path, clock: Clock, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self.context = _new_context()
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._every_seconds = every_seconds
        self._asked = asyncio.Event()
        self._seen = self._look()
        _check_pair(certificate, key)
        self.context.load_cert_chain(certificate, key)
        # One that is past is said, and no reason to stay away: the engine's work needs none.
        if fault := _fault_of_dates(certificate, clock.now()):
            _log.error("the certificate is not valid", reason=fault)

    def ask(self) -> None:
        """Have the files read again at once, changed or not (SIGHUP)."""
        self._asked.set()

    async def watch(self) -> None:
        """Look at the files now and then, and when asked, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._asked.wait()
            self.run_once(anyway=self._asked.is_set())
            self._asked.clear()

    def run_once(self, *, anyway: bool = False) -> bool:
        """Take the files where they have changed, or `anyway`. Returns whether they were taken."""
        seen = self._look()
        if seen == self._seen and not anyway:
            return False
        self._seen = seen
        try:
            _check_pair(self._certificate, self._key)
            if fault := _fault_of_dates(self._certificate, self._clock.now()):
                raise TlsError(fault)
        except TlsError as error:
            _log.error("the new certificate cannot be used: the old one stays", reason=str(error))
            return False
        try:
            self.context.load_cert_chain(self._certificate, self._key)
        except (OSError, ValueError):
            self._seen = ()  # they have changed between the two looks: the next one sorts it out
            return False
        _log.info("certificate loaded", file=str(self._certificate))
        return True

    def _look(self) -> _Seen:
        """Return what changes when a file is written, or another one put in its place."""
        found = []
        for path in (self._certificate, self._key):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_ino))
        return tuple(found)


def read_expiry(certificate: Path, key: Path) -> datetime:
    """Return until when a pair is good. Raises `TlsError` where it cannot be used at all."""
    _check_pair(certificate, key)
    return _first(certificate).not_valid_after_utc


def _new_context() -> ssl.SSLContext:
    """Return a context with the ciphers of the ssl module, TLS 1.2 and newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_pair(certificate: Path, key: Path) -> None:
    """Raise `TlsError` unless the two can be used together. A context that fails to load a pair is of no more use."""
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"cannot read {path}: {error.strerror}") from error
    try:
        _new_context().load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"the key in {key} is not that of the certificate in {certificate}") from error
        raise TlsError(
            f"{certificate} and {key} cannot be used ({error.reason or 'no PEM'}): give a PEM certificate, with its "
            "chain behind it, and a PEM key without a passphrase"
        ) from error


def _no_password() -> str:
    """Keep OpenSSL from asking for a passphrase on the terminal."""
    return ""


def _fault_of_dates(certificate: Path, now: datetime) -> str | None:
    """Return what is wrong with the dates of the certificate."""
    found = _first(certificate)
    if found.not_valid_after_utc < now:
        return f"{certificate} has expired ({found.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ})"
    if found.not_valid_before_utc > now:
        return f"{certificate} is not valid yet ({found.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ})"
    return None


def _first(certificate: Path) -> x509.Certificate:
    """Return the certificate that is shown; the rest of the file is its chain."""
    return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
