"""The canonical request of AWS Signature Version 4 (criterion A1): what signers hash, from the bytes on the wire.

Standard: AWS IAM User Guide, "Create a signed AWS API request". All here is pure.

Signers agree on headers and body, and differ on a path or query that holds more than letters, digits and `-_.~`:

| | the path | the query |
|---|---|---|
| botocore | encoded again | as sent, sorted |
| the guide, botocore's `params`, curl 8.23 | encoded again | each part decoded and encoded, sorted |
| curl 7.88 | as sent | as sent |

So there are up to six forms, most often one and the same. None lets in more than another: what a form says, decoded, is
what the request says. A path as sent is a form only where it has no `%`: else `/a%2520b` could be sent under a
signature made for `/a%20b`, which is `/a%2520b` once it is encoded again.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

_UNPRINTABLE = re.compile(rb"[\x00-\x20\x7f]")
_AMBIGUOUS = (
    (_UNPRINTABLE, "a control character or a space"),
    (re.compile(rb"//"), "//"),
    (re.compile(rb"/\.\.?(?:/|\Z)"), "a segment of dots alone"),
    (re.compile(rb"%2[ef]", re.IGNORECASE), "an encoded dot or slash"),
    (re.compile(rb"\\|%5c", re.IGNORECASE), "a backslash"),
)
_LOWER_CASE_ESCAPE = re.compile(rb"%[0-9A-F]?[a-f]")
_BLANKS = re.compile(rb"[ \t]+")


def ambiguity(raw_path: bytes) -> str | None:
    """Return what in a path is read in one way by some and in another by others (criterion A2), or None.

    Signers remove such segments before they sign, proxies decode them: who signed one path may have meant another.
    A target that is no path (`*`, or a whole URL) is ambiguous, too; an empty path is `/` (RFC 9110 §4.2.3).
    """
    if raw_path and not raw_path.startswith(b"/"):
        return "something before its first slash"
    return next((what for pattern, what in _AMBIGUOUS if pattern.search(raw_path)), None)


def is_printable(target: bytes) -> bool:
    """Whether a path or a query is free of what no request line can hold, and what could end a line of ours."""
    return _UNPRINTABLE.search(target) is None


def canonical_paths(raw_path: bytes) -> list[bytes]:
    """Return the forms of a path: encoded again, and as sent where no other path is that when it is encoded again."""
    path = raw_path or b"/"
    forms = [_encode(path, safe="/")]
    if b"%" not in path:
        forms.append(path)
    return _distinct(forms)


def canonical_queries(raw_query: bytes) -> list[bytes]:
    """Return the forms of a query string (without its `?`): as sent and sorted, decoded, and as sent.

    Sorted by name, then by value. A `+` is itself where the query is taken as sent, and a space where it is decoded,
    as the API reads it.
    """
    parts = [part.partition(b"=") for part in raw_query.split(b"&")] if raw_query else []
    pairs = [(name, value) for name, _, value in parts]
    forms = [_joined(pairs)]
    # The guide has escapes in upper case. To decode others would let `%3a` pass for `%3A`.
    if _LOWER_CASE_ESCAPE.search(raw_query) is None:
        forms.append(_joined([(_encode(_decode(name)), _encode(_decode(value))) for name, value in pairs]))
    return _distinct([*forms, raw_query])


def canonical_value(values: Sequence[bytes]) -> bytes:
    """Return the value of a header: trimmed, runs of blanks folded (within quotes, too), repeated ones in order."""
    return b",".join(_BLANKS.sub(b" ", value).strip(b" ") for value in values)


def canonical_requests(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, Sequence[bytes]],
    *,
    signed_headers: Sequence[str],
    body_hash: str,
) -> list[bytes]:
    """Return every form of a request. `headers` are those of the request by lower-case name, `body_hash` is in hex.

    Raises `KeyError` if a signed header is not there.
    """
    names = [name.encode() for name in signed_headers]
    lines = [b"%b:%b" % (name, canonical_value(headers[name])) for name in names]
    rest = (*lines, b"", b";".join(names), body_hash.encode())
    verb = method.encode("utf-8", "surrogatepass")
    return [
        b"\n".join((verb, path, query, *rest))
        for path in canonical_paths(raw_path)
        for query in canonical_queries(raw_query)
    ]


def _joined(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"&".join(b"%b=%b" % pair for pair in sorted(pairs))


def _encode(data: bytes, safe: str = "") -> bytes:
    return quote(data, safe=safe).encode()


def _decode(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))


def _distinct(forms: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(forms))
