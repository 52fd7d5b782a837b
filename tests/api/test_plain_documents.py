"""The quick reader of plain documents against the strict one: what it takes it takes alike, the rest it leaves."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from countwheel.api.body import NOT_PLAIN, parse_plain
from countwheel.api.jobs import canonical

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["a:b", '"', "\\", "{", "\x7f", "ü"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=12
)


@given(_DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_plain_means_what_the_strict_reader_says(document: Any, ascii_only: bool, indent: int | None) -> None:
    """The same document, and the same fingerprint, to the byte: a key that was used before is met by either."""
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    found = parse_plain(body)
    if found is NOT_PLAIN:
        return
    assert found == document
    assert json.dumps(found) == json.dumps(document)  # 1 is not true, and not 1.0
    assert canonical(found, is_plain=True) == canonical(document, is_plain=False)


@given(st.binary(max_size=40) | st.text(st.sampled_from('{}[]":,01.eE- \t\ntruefalsn\\u'), max_size=16).map(str.encode))
@example(b'{"a":1,"a":1}')
@example(b'{"a":{"b":1,"b":2}}')
@example(b'[{"a:":":","a:":1}]')
def test_it_takes_nothing_that_the_strict_reader_refuses(body: bytes) -> None:
    """Whatever comes: what is plain is JSON, with every name once."""
    found = parse_plain(body)
    if found is NOT_PLAIN:
        return

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert found == json.loads(body, object_pairs_hook=once)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1.5}', b'{"a": 1e5}', b'{"a": NaN}', b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', '{"a": "ü"}'.encode(),
        b'{"a": 1, "a": 2}', b'{"a": "\x7f"}', b"[" * 65 + b"]" * 65, b'{"a": %b}' % (b"9" * 400), b"\xff", b"",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_strict_reader(body: bytes) -> None:
    """Fractions, escapes, other characters, names given twice, depth, huge numbers: all that parsers disagree on."""
    assert parse_plain(body) is NOT_PLAIN


def test_the_fingerprint_is_the_one_that_earlier_releases_stored() -> None:
    """A key from before an upgrade still knows its request."""
    body = {
        "job_url": "https://example.com/",
        "schedule_oneoff": "2099-01-01T00:00:00Z",
        "job_payload": {"b": 1, "a": []},
    }
    wanted = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(canonical(body, is_plain=True)).digest() == hashlib.sha256(wanted).digest()
