"""Headers that every answer bears, so that a browser makes no more of it than what it is."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders

SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Each unless the answer has one of its own."""

_ON_THE_WIRE = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

STRICT_TRANSPORT_SECURITY = "max-age=31536000"
"""For answers over TLS (RFC 6797). Other names under ours are none of our business: no includeSubDomains."""


def complete(headers: MutableHeaders, request_id: str, *, secure: bool) -> None:
    """Add what every answer bears, once. `secure` says that the request came over TLS."""
    raw = headers.raw
    given = {name for name, _ in raw}
    raw.append((b"x-request-id", request_id.encode()))
    raw.extend([header for header in _ON_THE_WIRE if header[0] not in given])
    if secure:
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
