"""Fetches a JSON document of an issuer: one request, one answer, within a time and a size (criterion O5).

Nothing is followed, kept alive or decompressed, and no proxy is asked: a redirect is a failure, because the address
that an operator wrote down is the one to be trusted. Where requests go is the operator's word, or that of an issuer
whom they trust; private networks are no exception, since that is where many issuers live.
"""

import asyncio
import ssl
from typing import Any
from urllib.parse import urlencode

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from countwheel.auth.compact import strict_json
from countwheel.delivery.wire import Destination, MalformedCallError, destination

FETCH_SECONDS = 5.0
"""For all of it: look-up, connection, TLS, request and answer."""
MAX_DOCUMENT_BYTES = 524_288
_MAX_HEADER_BYTES = 65_536
_READ_BYTES = 65_536
_OK, _FIRST_FINAL_STATUS = 200, 200

Headers = tuple[tuple[str, str], ...]


class FetchError(Exception):
    """A document cannot be had, or is not what it should be. The text is for the operator."""


class IssuerUnavailableError(Exception):
    """An issuer cannot be asked, so that it is not known whether a token is good. The text may be shown."""


class JsonFetcher:
    """Fetches from servers for whom one set of authorities vouches."""

    def __init__(self, tls: ssl.SSLContext, *, allow_http: bool, seconds: float = FETCH_SECONDS) -> None:
        """`allow_http` lets plain http through; `seconds` is the limit for each document."""
        self._tls = tls
        self._allow_http = allow_http
        self._seconds = seconds

    async def get(self, url: str, headers: Headers = ()) -> object:
        """Return the document at a URL. Raises `FetchError`."""
        return await self._fetch("GET", url, headers, b"")

    async def post_form(self, url: str, form: dict[str, str], headers: Headers = ()) -> object:
        """Post a form and return the document that is the answer. Raises `FetchError`."""
        kind = ("content-type", "application/x-www-form-urlencoded")
        return await self._fetch("POST", url, (kind, *headers), urlencode(form).encode())

    async def _fetch(self, method: str, url: str, headers: Headers, body: bytes) -> object:
        try:
            to = destination(url)
            if not to.is_tls and not self._allow_http:
                raise FetchError("plain http is not allowed: give an https URL")
            async with asyncio.timeout(self._seconds):
                document = await self._exchange(to, _head(method, to, headers, body) + body)
            return strict_json(document)
        except FetchError as error:
            raise FetchError(f"{url}: {error}") from error
        except TimeoutError as error:
            raise FetchError(f"{url}: no whole answer within {self._seconds:g} s") from error
        except (HttpParserError, HttpParserUpgrade) as error:
            raise FetchError(f"{url}: not HTTP: {error}") from error
        except (OSError, MalformedCallError) as error:
            raise FetchError(f"{url}: {error}") from error
        except ValueError as error:
            raise FetchError(f"{url}: not JSON: {error}") from error

    async def _exchange(self, to: Destination, request: bytes) -> bytes:
        name = to.host if to.is_tls else None
        reader, writer = await asyncio.open_connection(
            to.host, to.port, ssl=self._tls if to.is_tls else None, server_hostname=name
        )
        try:
            writer.write(request)
            answer = _Answer()
            while not answer.is_complete:
                data = await reader.read(_READ_BYTES)
                if not data:
                    answer.end()
                    break
                answer.feed(data)
            return answer.document()
        finally:
            writer.transport.abort()


class _Answer:
    """One HTTP answer, as it comes in; called back by httptools."""

    def __init__(self) -> None:
        self._parser: Any = HttpResponseParser(self)
        self._status = 0
        self._body = bytearray()
        self._wire_bytes = 0
        self._has_length = False
        self._is_encoded = False
        self.is_complete = False

    def feed(self, data: bytes) -> None:
        """Read what came. Raises `FetchError` over the limit, httptools' errors for what is not HTTP."""
        self._wire_bytes += len(data)
        if self._wire_bytes > MAX_DOCUMENT_BYTES + _MAX_HEADER_BYTES:
            raise FetchError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
        self._parser.feed_data(data)

    def end(self) -> None:
        """The connection has ended. Raises `FetchError` unless that is how the length was told."""
        if self._status < _FIRST_FINAL_STATUS or self._has_length:
            raise FetchError("the connection ended within the answer")
        self.is_complete = True

    def document(self) -> bytes:
        """Return the body. Raises `FetchError` unless the answer is a plain 200."""
        self._parser = None
        if self._status != _OK:
            raise FetchError(f"answered with status {self._status}")
        if self._is_encoded:
            raise FetchError("the answer is compressed, which was not asked for")
        if len(self._body) > MAX_DOCUMENT_BYTES:
            raise FetchError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(self._body)

    # What httptools calls while it parses:

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take note of what tells how the body is to be read."""
        lower = name.lower()
        self._has_length |= lower in {b"content-length", b"transfer-encoding"}
        self._is_encoded |= lower == b"content-encoding" and value.strip().lower() != b"identity"

    def on_headers_complete(self) -> None:
        """Take the status."""
        if not self.is_complete:
            self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self.is_complete:
            self._body += body

    def on_message_complete(self) -> None:
        """Take note that the answer is whole; an interim one is none."""
        if self._status >= _FIRST_FINAL_STATUS:
            self.is_complete = True
        else:
            self._has_length = self._is_encoded = False
            self._body.clear()


def _head(method: str, to: Destination, headers: Headers, body: bytes) -> bytes:
    lines = [f"{method} {to.path} HTTP/1.1", f"host: {to.authority}", "accept: application/json"]
    lines += ["accept-encoding: identity", "user-agent: countwheel", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if method == "POST":
        lines.append(f"content-length: {len(body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise FetchError("a header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
