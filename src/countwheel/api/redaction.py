"""What of a document may stand in the audit log: everything but what is, or may be, secret."""

from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "[hidden]"

_SECRET_MEMBERS = frozenset({"secret", "client_secret", "secret_access_key", "access_token", "value"})
"""Shown once, or never, by the API itself."""

_OPAQUE_MEMBERS = frozenset({"job_payload", "result", "progress", "response_head"})
"""Whatever clients put there, and targets answer: nobody knows whether a password is among it."""

_HEADERS = frozenset({"headers", "response_headers"})


def redacted(document: object) -> object:
    """Return a copy without secrets, payloads, values of headers, and queries of URLs: those may hold tokens."""
    if isinstance(document, dict):
        return {name: _member(str(name), value) for name, value in document.items()}
    if isinstance(document, list):
        return [redacted(entry) for entry in document]
    return document


def _member(name: str, value: object) -> object:
    if name in _OPAQUE_MEMBERS:
        return HIDDEN
    if isinstance(value, str):
        if name in _SECRET_MEMBERS:
            return HIDDEN
        return _without_query(value) if value[:8].lower().startswith(("http://", "https://")) else value
    if name in _HEADERS and isinstance(value, dict):
        return {header: redacted(said) if isinstance(said, dict) else HIDDEN for header, said in value.items()}
    return redacted(value) if isinstance(value, dict | list) else value


@lru_cache(maxsize=1024)
def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    return urlunsplit(parts._replace(query=HIDDEN if parts.query else "", fragment=""))
