"""An issuer on 127.0.0.1 that speaks HTTP by itself, so that it can misbehave, and counts what it is asked."""

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from forge import token
from joserfc.jwk import ECKey, RSAKey

METADATA = "/.well-known/openid-configuration"
KEYS = "/keys"

Raw = Callable[[asyncio.StreamWriter], Awaitable[None]]

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = RSAKey.generate_key(2048, {"kid": "other"})


def public(key: Any, **changes: Any) -> dict[str, Any]:
    """A key as an issuer publishes it."""
    return {**key.as_dict(private=False), **changes}


class FakeIssuer:
    """Serves its metadata and keys, from `__aenter__` to `__aexit__`."""

    def __init__(self, path: str = "") -> None:
        """`path` comes after host and port in the issuer's name."""
        self._path = path
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self.keys: list[dict[str, Any]] = [public(RSA), public(EC)]
        self.documents: dict[str, Any] = {}
        """What is answered beside, or instead of, the usual: a value as JSON, bytes as they stand, or a function."""
        self.is_down = False
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.url = self.origin + self._path
        self.documents = {
            self._path + METADATA: {"issuer": self.url, "jwks_uri": self.origin + KEYS},
            KEYS: lambda: {"keys": self.keys},
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """Claims that are right; `...` leaves one out."""
        whole = {
            "iss": self.url,
            "aud": "countwheel",
            "sub": "somebody",
            "client_id": "app",
            "iat": int(now),
            "exp": int(now) + 3600,
            "jti": "1",
            "scope": "jobs:read openid",
            "org": "default",
        }
        return {name: value for name, value in (whole | changes).items() if value is not ...}

    def sign(self, claims: Any, sign: Callable[[bytes], bytes], **header: Any) -> str:
        """A token with this header; `...` leaves a member out."""
        whole = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa"} | header
        return token({name: value for name, value in whole.items() if value is not ...}, claims, sign)

    def settings(self, extra: str = "") -> str:
        """The table that makes it trusted."""
        usual = f'issuer = "{self.url}"\naudience = "countwheel"\nallow_http = true\ntenant_claim = "org"'
        return f"[[issuer]]\n{usual}\n{extra}\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = lines[0].split(" ")[1]
            self.asked[path] += 1
            self.requests.append((path, headers, body))
            if not self.is_down:
                await self._answer(path, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # whoever asked has gone
        finally:
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        document = self.documents.get(path)
        if inspect.iscoroutinefunction(document):
            await document(writer)
            return
        value = document() if callable(document) else document
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        status = "404 Not Found" if document is None else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
