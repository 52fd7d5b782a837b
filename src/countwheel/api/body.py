"""Reading JSON strictly (RFC 8259, I-JSON; criteria E8, E9): what is ambiguous is refused, nothing buffered in vain."""

import json
import math
import re
from typing import Any, NoReturn

import msgspec
from starlette.requests import Request

from countwheel.api.notes import note, noted
from countwheel.api.problems import Problem, invalid_body
from countwheel.domain.errors import Fault

MAX_DEPTH = 64
_PATIENCE = 8
"""How many times the limit is read from a client that sends too much, before the connection is closed on it."""
_JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)", re.IGNORECASE)
_CHARSET = re.compile(r'charset="?([^";\s]+)"?', re.IGNORECASE)
_UTF_8 = frozenset({"utf-8", "utf8"})


class _Refused(ValueError):  # noqa: N818 (private, and read as a word)
    """Something in a document that JSON parsers disagree on."""


async def read_json(request: Request, limit_bytes: int) -> object:
    """Return the request's JSON document.

    Raises `Problem`: 415 for another content type, 413 for a body over `limit_bytes`, 400 for anything that
    is not one unambiguous JSON document.
    """
    return (await read_document(request, limit_bytes))[0]


async def read_document(request: Request, limit_bytes: int) -> tuple[object, bool]:
    """Return the same, and whether the document is plain (see `parse_plain`)."""
    _check_type(request.headers.get("content-type", ""))
    body = await read_bytes(request, limit_bytes)
    if not body:
        raise invalid_body([Fault("#", "the body is empty: send a JSON object")])
    document = parse_plain(body)
    return (_parse(body), False) if document is NOT_PLAIN else (document, True)


async def read_optional_json(request: Request, limit_bytes: int) -> object:
    """Return the request's JSON document, or an empty object where it has no body. Raises as `read_json` does."""
    body = await read_bytes(request, limit_bytes)
    if not body:
        return {}
    _check_type(request.headers.get("content-type", ""))
    return parse_json(body)


async def keep_body(request: Request, limit_bytes: int) -> bytes:
    """Read the body before whoever else will, and keep it for them: a signature is over all of it."""
    body = await read_bytes(request, limit_bytes)
    note(request, "body", body)
    return body


async def read_bytes(request: Request, limit_bytes: int) -> bytes:
    """Return the body. Raises the 413 problem if it is over the limit; no more than the limit is ever kept."""
    kept: bytes | None = noted(request, "body")
    if kept is not None:
        if len(kept) > limit_bytes:
            raise _too_large(limit_bytes)
        return kept
    announced = request.headers.get("content-length", "")
    refused = announced.isdigit() and int(announced) > limit_bytes
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:  # not by `request.stream()`: a generator for a body that came in one piece, as most do
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "invalid-request", detail="the connection ended within the body")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        refused = refused or size > limit_bytes
        # What is refused is read on for a while and thrown away: closing on a client that is still sending would
        # reset the connection, and the answer with it.
        if size > limit_bytes * _PATIENCE:
            raise _too_large(limit_bytes)
        if refused:
            chunks.clear()
        else:
            chunks.append(chunk)
    if refused:
        raise _too_large(limit_bytes)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit_bytes: int) -> Problem:
    detail = f"the body is over {limit_bytes} bytes"
    return Problem(413, "body-too-large", detail=detail, headers={"Connection": "close"})


def parse_json(body: bytes) -> object:
    """Return a JSON document. Raises the 400 problem that says what is wrong and where."""
    document = parse_plain(body)
    return _parse(body) if document is NOT_PLAIN else document


def _parse(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except UnicodeDecodeError as error:
        raise _fault(f"not UTF-8: byte {error.start} cannot be read") from error
    except json.JSONDecodeError as error:
        raise _fault(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (_Refused, RecursionError) as error:
        raise _fault(str(error) if isinstance(error, _Refused) else "nested too deeply") from error
    # Only an escape can bring these in: the decoder above has refused them raw.
    if "\\u" in text:
        _check_text(document)
    return document


NOT_PLAIN = object()
"""What is no plain document: it may be a good one, or none."""

_MAX_DIGITS = 400
_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % _MAX_DIGITS)


def parse_plain(body: bytes) -> object:
    """Return a document that is plain: ASCII without escapes, and no fraction in it. `NOT_PLAIN` for any other.

    Most are, and a quick parser will do: 1 us instead of 4 for a small job. It takes what `_parse` takes, but for a
    name that is given twice. Without escapes the document, written again, has exactly the colons that the text has:
    unless a name was given twice, and one of the two is lost.
    """
    if not body.isascii() or b"\\" in body or b"\x7f" in body or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        return NOT_PLAIN
    if len(body) > _MAX_DIGITS and _MANY_DIGITS.search(body):
        return NOT_PLAIN
    try:
        document = _decode(body)
    except msgspec.DecodeError:
        return NOT_PLAIN
    return document if msgspec.json.encode(document).count(b":") == body.count(b":") else NOT_PLAIN


def _no_fraction(text: str) -> NoReturn:
    raise _Refused(text)


_decode = msgspec.json.Decoder(float_hook=_no_fraction).decode


def _check_type(content_type: str) -> None:
    if content_type == "application/json":
        return
    media_type = content_type.split(";", 1)[0].strip()
    charset = _CHARSET.search(content_type)
    if not _JSON_TYPE.fullmatch(media_type) or (charset and charset[1].lower() not in _UTF_8):
        raise Problem(
            415,
            "unsupported-media-type",
            detail="send Content-Type: application/json (UTF-8)",
            headers={"Accept-Post": "application/json"},
        )


def _fault(detail: str) -> Problem:
    return invalid_body([Fault("#", detail)])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Refused(f"the name {name[:64]!r} is given twice in one object")
            seen.add(name)
    return found


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused(f"the number {text[:32]} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # more than any double has
        raise _Refused(f"a number has more than {_MAX_DIGITS} digits")
    return int(text)


def _check_depth(text: str) -> None:
    """Refuse bombs before the parser recurses. Brackets inside strings are not counted."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        symbol = token[0][0]
        if symbol in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(f"nested deeper than {MAX_DEPTH} levels")
        elif symbol in "]}":
            depth -= 1


def _check_text(document: object) -> None:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            if "\x00" in value:
                raise _fault("a string holds NUL, which no text column can store")
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise _fault("a string holds a lone surrogate, which is no character")
