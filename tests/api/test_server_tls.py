"""TLS for our own port: what is served, what is refused, and a certificate that is exchanged while it is served."""

import asyncio
import contextlib
import shutil
import signal
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs

from certificates import Certificate, make_certificate
from countwheel.api.protocol import ConnectionLimits
from countwheel.api.server import HttpServer
from countwheel.api.tls import ServerTls, TlsError
from countwheel.clock import SystemClock
from countwheel.config import SettingError, read_settings
from harness import DevServer, ServeNode, eventually, run_command, running_node

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def made(folder: Path, **terms) -> Certificate:
    folder.mkdir()
    return make_certificate(folder, **terms)


def put(new: Certificate, in_place_of: Certificate) -> None:
    """Put a pair in the place of another, as a tool for certificates does: a new file under the old name."""
    for source, target in ((new.key, in_place_of.key), (new.certificate, in_place_of.certificate)):
        fresh = target.with_suffix(".fresh")
        shutil.copy(source, fresh)
        fresh.replace(target)


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.certificate.read_text())


async def shown(port: int) -> bytes:
    """Return the certificate that a new handshake shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return found


async def hello(scope, receive, send) -> None:
    await PlainTextResponse(scope["scheme"])(scope, receive, send)


@asynccontextmanager
async def serving(tls: ServerTls, **limits: float) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with HttpServer(hello, listener, ConnectionLimits(**limits), tls):
            yield listener.getsockname()[1]


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """Two handshakes: before and after the files were exchanged. A connection that was there lives on."""
    first, second = made(tmp_path / "1"), made(tmp_path / "2")
    expected = der(first), der(second)
    tls = ServerTls(first.certificate, first.key, SystemClock())
    async with serving(tls) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=first.client_context())
        before = await shown(port)
        assert not tls.run_once()  # nothing has changed
        put(second, in_place_of=first)
        assert tls.run_once()
        assert (before, await shown(port)) == expected
        writer.write(GET)
        assert (await reader.readuntil(b"https")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("broken", ["key of another", "garbage", "gone", "expired"])
async def test_a_broken_certificate_does_not_replace_a_good_one(tmp_path: Path, broken: str) -> None:
    """The old one stays and an error says why, once; the next good one is taken."""
    good, other, past = made(tmp_path / "1"), made(tmp_path / "2"), made(tmp_path / "3", days=-1)
    old = der(good)
    tls = ServerTls(good.certificate, good.key, SystemClock())
    async with serving(tls) as port:
        match broken:
            case "key of another":
                shutil.copy(other.key, good.key)
            case "garbage":
                good.certificate.write_text("nothing that is PEM")
            case "gone":
                good.certificate.unlink()
            case _:
                put(past, in_place_of=good)
        with capture_logs() as logs:
            assert not tls.run_once()
            assert not tls.run_once()
        assert [entry["log_level"] for entry in logs] == ["error"]
        assert str(good.certificate) in logs[0]["reason"]
        assert await shown(port) == old
        put(other, in_place_of=good)
        assert tls.run_once()
        assert await shown(port) == der(other)


async def test_the_files_are_watched(tmp_path: Path) -> None:
    """Nobody has to say that they have changed."""
    first, second = made(tmp_path / "1"), made(tmp_path / "2")
    async with serving(ServerTls(first.certificate, first.key, SystemClock(), every_seconds=0.05)) as port:
        put(second, in_place_of=first)

        async def is_new() -> bool:
            return await shown(port) == der(second)

        await eventually(is_new)


@pytest.mark.parametrize("broken", ["no file", "no PEM", "key of another", "passphrase"])
async def test_what_cannot_be_used_is_said(tmp_path: Path, broken: str) -> None:
    """The error names the file and what is wrong with it, and nothing of what is in it."""
    good, other = made(tmp_path / "1"), made(tmp_path / "2")
    match broken:
        case "no file":
            good.key.unlink()
            said = "cannot read .*key.pem: No such file"
        case "no PEM":
            good.certificate.write_text("-----BEGIN RUBBISH-----")
            said = "certificate.pem and .*key.pem cannot be used .*: give a PEM certificate"
        case "key of another":
            shutil.copy(other.key, good.key)
            said = "the key in .*key.pem is not that of the certificate in .*certificate.pem"
        case _:
            loaded = serialization.load_pem_private_key(good.key.read_bytes(), None)
            good.key.write_bytes(
                loaded.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(b"hidden"),
                )
            )
            said = "a PEM key without a passphrase"
    with pytest.raises(TlsError, match=said):
        ServerTls(good.certificate, good.key, SystemClock())


async def test_an_expired_certificate_is_said_and_served(tmp_path: Path) -> None:
    """Clients refuse it by themselves; the runs that are due need none."""
    past = made(tmp_path / "1", days=-1)
    with capture_logs() as logs:
        tls = ServerTls(past.certificate, past.key, SystemClock())
    assert "has expired" in logs[0]["reason"]
    async with serving(tls) as port:
        assert await shown(port) == der(past)


async def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the least; 1.3 is spoken."""
    pair = made(tmp_path / "1")
    async with serving(ServerTls(pair.certificate, pair.key, SystemClock())) as port:
        old = pair.client_context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pair.client_context())
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()


async def test_limits_hold_over_tls(tmp_path: Path) -> None:
    """A handshake that does not end, and a head that does not, are cut off; plain HTTP gets no answer."""
    pair = made(tmp_path / "1")
    async with serving(ServerTls(pair.certificate, pair.key, SystemClock()), head_seconds=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pair.client_context())
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nStrict-Transport-Security: max-age=31536000\r\n" in answer
        writer.close()
        for sent in (b"\x16\x03\x01", GET):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(10):
                    assert b"HTTP" not in await reader.read()
            writer.close()


async def test_over_tls_browsers_are_told_to_stay_with_it(tmp_path: Path, dsn: str) -> None:
    """Strict-Transport-Security (RFC 6797) on every answer that came over TLS, and on no other."""
    pair = made(tmp_path / "1")
    async with TlsNode(dsn, pair) as node, node.session(pair) as session:
        async with session.get(f"{node.url}/v1/jobs") as answer:
            assert (answer.status, answer.headers["Strict-Transport-Security"]) == (401, "max-age=31536000")
        async with session.get(f"{node.url}/.well-known/oauth-authorization-server") as answer:
            assert (await answer.json())["issuer"] == node.url
    async with running_node(dsn) as plain:
        assert "Strict-Transport-Security" not in (await plain.api.call("GET", "/v1/jobs")).headers


class TlsNode(ServeNode):
    """`countwheel serve` that speaks TLS."""

    def __init__(self, dsn: str, pair: Certificate, *arguments: str) -> None:
        files = {"COUNTWHEEL_TLS_CERT_FILE": str(pair.certificate), "COUNTWHEEL_TLS_KEY_FILE": str(pair.key)}
        super().__init__(dsn, arguments=arguments, **files)
        self.url = self.url.replace("http:", "https:")
        self._pair = pair

    def session(self, trusted: Certificate) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted.client_context(), force_close=True))

    async def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, "countwheel serve ended by itself: see its output"
        try:
            async with self.session(self._pair) as session, session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


async def test_workers_exchange_their_certificate_on_sighup(tmp_path: Path, dsn: str) -> None:
    """`serve --workers 2`: SIGHUP to the supervisor reaches each worker, and nothing is started again."""
    first, second = made(tmp_path / "1"), made(tmp_path / "2")
    old = der(first)
    async with TlsNode(dsn, first, "--workers", "2") as node:
        assert await shown(node.port) == old
        put(second, in_place_of=first)
        node.send(signal.SIGHUP)

        async def are_new() -> bool:
            return {await shown(node.port) for _ in range(30)} == {der(second)}

        await eventually(are_new, 8)  # it would be seen after ten seconds in any case


async def test_the_token_command_works_over_tls(tmp_path: Path) -> None:
    """`countwheel dev` and `countwheel token` with a certificate of one's own: trusted by SSL_CERT_FILE, or refused."""
    pair, data_dir = made(tmp_path / "1"), tmp_path / "data"
    files = {"COUNTWHEEL_TLS_CERT_FILE": str(pair.certificate), "COUNTWHEEL_TLS_KEY_FILE": str(pair.key)}
    server = DevServer(data_dir, **files)
    await server.start()
    try:
        assert f"https://127.0.0.1:{server.port}".encode() in server.output
        command = {"COUNTWHEEL_DATA_DIR": str(data_dir)}
        refused = await run_command("token", **command)
        assert (refused.code, "certificate verify failed" in refused.errors) == (1, True)
        trusted = await run_command("token", SSL_CERT_FILE=str(pair.certificate), **command)
        assert (trusted.code, trusted.output.count(".")) == (0, 2)
    finally:
        await server.stop()


def test_a_certificate_without_a_key_is_refused() -> None:
    """Both or none."""
    with pytest.raises(SettingError, match="TLS_CERT_FILE and COUNTWHEEL_TLS_KEY_FILE: give both, or none"):
        read_settings({"COUNTWHEEL_TLS_CERT_FILE": "/c"}, development=False)
    settings = read_settings({"COUNTWHEEL_TLS_CERT_FILE": "/c", "COUNTWHEEL_TLS_KEY_FILE": "/k"}, development=False)
    assert settings.issuer_url == settings.url == "https://127.0.0.1:8080"
