"""O5: documents of an issuer are fetched over https, within a size and a time, from where the operator said."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_issuer import KEYS, METADATA, RSA, FakeIssuer, public

from certificates import make_certificate
from countwheel.auth.discovery import key_source, keys_url, metadata_urls
from countwheel.auth.fetching import MAX_DOCUMENT_BYTES, FetchError, JsonFetcher
from countwheel.auth.trust import ClaimMapping, KeysAt, KeysIn, TrustedIssuer
from countwheel.delivery.connector import default_tls

TLS = default_tls()
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_WHOLE = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a": 1}'
Raw = Callable[[asyncio.StreamWriter], Awaitable[None]]


def fetcher(*, seconds: float = 5.0) -> JsonFetcher:
    return JsonFetcher(TLS, allow_http=True, seconds=seconds)


def trusted(issuer: FakeIssuer, **changes: Any) -> TrustedIssuer:
    return TrustedIssuer(issuer.url, ("countwheel",), ClaimMapping(), allow_http=True, **changes)


def raw(*parts: bytes) -> Raw:
    """Answers with these bytes, and keeps the connection open only while they are written."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def held(*parts: bytes) -> Raw:
    """Answers with these bytes, then says nothing until whoever asked goes away."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        await raw(*parts)(writer)
        await writer.wait_closed()

    return answer


async def endless(writer: asyncio.StreamWriter) -> None:
    """A document that never ends, as fast as it is read."""
    writer.write(_CHUNKED)
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    while True:
        writer.write(chunk)
        await writer.drain()


async def headers_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: " + b"y" * 60_000 + b"\r\n")
        await writer.drain()


def plain(body: bytes, head: str = "200 OK", extra: str = "") -> Raw:
    return raw(f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("length told", plain(b'{"a": 1}')),
        ("in chunks", raw(_CHUNKED + b'4\r\n{"a"\r\n', b"4\r\n: 1}\r\n0\r\n\r\n")),
        ("ended by the connection", raw(b"HTTP/1.0 200 OK\r\n\r\n", b'{"a": 1}')),
        ("after interim answers", raw(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", _WHOLE)),
        ("the connection stays open", held(_WHOLE)),
        ("identity", plain(b'{"a": 1}', extra="content-encoding: identity\r\n")),
    ],
)  # fmt: skip
async def test_o5_a_document_is_read(issuer: FakeIssuer, name: str, answer: Raw) -> None:
    """O5: in every way in which HTTP/1.1 tells a length."""
    del name
    issuer.documents["/document"] = answer
    assert await fetcher().get(issuer.origin + "/document") == {"a": 1}


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("redirect", plain(b"", "302 Found", "location: http://127.0.0.1/elsewhere\r\n"), "status 302"),
        ("permanent redirect", plain(b'{"a": 1}', "308 Permanent Redirect", "location: /other\r\n"), "status 308"),
        ("error", plain(b'{"a": 1}', "500 Internal Server Error"), "status 500"),
        ("no content", plain(b"", "204 No Content"), "status 204"),
        ("not JSON", plain(b"<html>"), "not JSON"),
        ("twice the same name", plain(b'{"a": 1, "a": 2}'), "twice"),
        ("not a number", plain(b'{"a": NaN}'), "NaN"),
        ("not UTF-8", plain(b'"\xff"'), "not JSON"),
        ("nested too deeply", plain(b"[" * 100_000), "deeply"),
        ("compressed", plain(gzip.compress(b'{"a": 1}'), extra="content-encoding: gzip\r\n"), "compressed"),
        ("cut", raw(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"a": 1}'), "within the answer"),
        ("cut chunk", raw(_CHUNKED + b"8\r\n{"), "within the answer"),
        ("nothing", raw(), "within the answer"),
        ("not HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "not HTTP"),
        ("another protocol", raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "not HTTP"),
        ("endless", endless, "longer than"),
        ("endless headers", headers_without_end, "longer than"),
        ("a byte too long", plain(b" " * MAX_DOCUMENT_BYTES + b"1"), "longer than"),
    ],
)  # fmt: skip
async def test_o5_what_is_no_document_is_refused(issuer: FakeIssuer, name: str, answer: Raw, reason: str) -> None:
    """O5: nothing is followed, guessed at or read without end, and the reason is told with the URL."""
    del name
    issuer.documents["/document"] = answer
    with pytest.raises(FetchError, match=reason) as raised:
        await fetcher().get(issuer.origin + "/document")
    assert issuer.origin in str(raised.value)
    assert issuer.asked.total() == 1


@pytest.mark.parametrize(
    "answer",
    [
        held(),
        held(b"HTTP/1.1 200 OK\r\n"),
        held(b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a": 1}'),
        held(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_o5_a_slow_document_is_cut_off(issuer: FakeIssuer, answer: Raw) -> None:
    """O5: the time is that of the whole, whatever has come by then."""
    issuer.documents["/document"] = answer
    with pytest.raises(FetchError, match=r"no whole answer within 0\.2 s"):
        await fetcher(seconds=0.2).get(issuer.origin + "/document")


async def test_o5_no_proxy_of_the_environment_is_asked(issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """O5: where keys come from is not for an environment variable to say."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await fetcher().get(issuer.origin + KEYS) == {"keys": issuer.keys}


async def test_o5_plain_http_is_refused_unless_allowed(issuer: FakeIssuer) -> None:
    """O5: nothing is sent, not even the question."""
    with pytest.raises(FetchError, match="https"):
        await JsonFetcher(TLS, allow_http=False).get(issuer.origin + KEYS)
    assert issuer.asked.total() == 0


async def test_o5_an_issuer_shows_a_certificate_that_is_vouched_for(tmp_path: Path) -> None:
    """O5: with `ca_file` its own authority vouches for it; without, nobody does, and with a wrong name neither."""
    certificate = make_certificate(tmp_path, addresses=("127.0.0.1",), names=("issuer.example",))

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await plain(b'{"a": 1}')(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate.server_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        trusting = JsonFetcher(certificate.client_context(), allow_http=False)
        assert await trusting.get(f"https://127.0.0.1:{port}/") == {"a": 1}
        for refused, host in ((trusting, "localhost"), (JsonFetcher(TLS, allow_http=False), "127.0.0.1")):
            with pytest.raises(FetchError, match="certificate"):
                await refused.get(f"https://{host}:{port}/")


@pytest.mark.parametrize(("url", "path"), [("", ""), ("/", ""), ("/t/1", "/t/1"), ("/t/1/", "/t/1")])
def test_o5_where_metadata_are_looked_for(url: str, path: str) -> None:
    """O5: OpenID Connect Discovery 1.0 §4.1, then RFC 8414 §3.1."""
    places = [f"{path}/.well-known/openid-configuration", f"/.well-known/oauth-authorization-server{path}"]
    assert list(metadata_urls("https://a.example" + url)) == ["https://a.example" + place for place in places]


async def test_o5_metadata_are_found_in_either_place() -> None:
    """O5: an issuer with a path that knows RFC 8414 alone."""
    async with FakeIssuer("/t/1") as issuer:
        document = issuer.documents.pop("/t/1" + METADATA)
        issuer.documents["/.well-known/oauth-authorization-server/t/1"] = document
        fetch = key_source(trusted(issuer), fetcher())
        assert await fetch() == {"keys": issuer.keys}
        assert await fetch() == {"keys": issuer.keys}
        assert issuer.asked["/t/1" + METADATA] == 1  # once found, they are not looked for again


async def test_o5_keys_that_move_are_found_again(issuer: FakeIssuer) -> None:
    """O5: where the keys cannot be had any more, the metadata are read again."""
    fetch = key_source(trusted(issuer), fetcher())
    await fetch()
    issuer.documents["/moved"] = issuer.documents.pop(KEYS)
    issuer.documents[METADATA]["jwks_uri"] = issuer.origin + "/moved"
    with pytest.raises(FetchError, match="404"):
        await fetch()
    assert await fetch() == {"keys": issuer.keys}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://attacker.example", "jwks_uri": "https://a.example/keys"}, "that of issuer"),
        ({"issuer": "https://a.example/", "jwks_uri": "https://a.example/keys"}, "that of issuer"),
        ({"issuer": ["https://a.example"], "jwks_uri": "https://a.example/keys"}, "that of issuer"),
        ({"jwks_uri": "https://a.example/keys"}, "that of issuer"),
        ({"issuer": "https://a.example"}, "no jwks_uri"),
        ({"issuer": "https://a.example", "jwks_uri": ["https://a.example/keys"]}, "no jwks_uri"),
        ({"issuer": "https://a.example", "jwks_uri": "http://a.example/keys"}, "not https"),
        ({"issuer": "https://a.example", "jwks_uri": "file:///etc/passwd"}, "not https"),
        ([], "no object"),
        (None, "no object"),
    ],
)
def test_o5_metadata_must_be_the_issuers_own(metadata: Any, reason: str) -> None:
    """O5: its `issuer` is the configured one to the letter, its `jwks_uri` https (RFC 8414 §3.3)."""
    with pytest.raises(FetchError, match=reason):
        keys_url(metadata, TrustedIssuer("https://a.example", ("countwheel",), ClaimMapping()))


async def test_o5_keys_of_another_issuer_are_not_even_fetched(issuer: FakeIssuer) -> None:
    """O5: metadata that name another issuer end it there."""
    issuer.documents[METADATA]["issuer"] = "https://attacker.example"
    with pytest.raises(FetchError, match="attacker"):
        await key_source(trusted(issuer), fetcher())()
    assert issuer.asked[KEYS] == 0


async def test_o5_keys_at_a_url_are_asked_for_with_a_token(issuer: FakeIssuer, tmp_path: Path) -> None:
    """O5: a Kubernetes API server wants the pod's own token, which is read anew each time."""
    token = tmp_path / "token"
    fetch = key_source(trusted(issuer, keys=KeysAt(issuer.origin + KEYS, token)), fetcher())
    for text in ("first\n", "second\n"):
        token.write_text(text)
        await fetch()
    assert [headers["authorization"] for _, headers, _ in issuer.requests] == ["Bearer first", "Bearer second"]
    token.write_text("a\r\nx: y")
    with pytest.raises(FetchError, match="line break"):
        await fetch()
    assert issuer.asked[METADATA] == 0


async def test_o5_keys_in_a_file_need_no_network(issuer: FakeIssuer, tmp_path: Path) -> None:
    """O5: an air-gapped cluster; the file is read anew, and a fault of it is one of fetching."""
    path = tmp_path / "keys.json"
    fetch = key_source(trusted(issuer, keys=KeysIn(path)), fetcher())
    with pytest.raises(FetchError, match="No such file"):
        await fetch()
    path.write_text("{")
    with pytest.raises(FetchError, match="not JSON"):
        await fetch()
    path.write_text(json.dumps({"keys": [public(RSA)]}))
    assert await fetch() == {"keys": [public(RSA)]}
    assert issuer.asked.total() == 0
