"""A fast receiver in a process of its own: counts ids, doubles and lateness, and tells them on `GET /`.

python -m benchmarks.sink PORT [CERTIFICATE KEY]
"""

import asyncio
import json
import ssl
import sys
import time
from datetime import datetime
from typing import Any

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Tally:
    """What has arrived since the last reset."""

    def __init__(self) -> None:
        self.ids: dict[bytes, int] = {}
        self.received = 0
        self.arrivals: list[tuple[float, bytes]] = []

    def summary(self) -> dict[str, Any]:
        """Return counts, and lateness in milliseconds as seen here."""
        lateness = sorted(
            (at - datetime.fromisoformat(scheduled_for.decode()).timestamp()) * 1000
            for at, scheduled_for in self.arrivals
        )
        times = [at for at, _ in self.arrivals]

        def percentile(share: float) -> float:
            return lateness[min(int(len(lateness) * share), len(lateness) - 1)] if lateness else 0.0

        return {
            "received": self.received,
            "distinct": len(self.ids),
            "doubles": sum(count - 1 for count in self.ids.values()),
            "first_at": min(times, default=0.0),
            "last_at": max(times, default=0.0),
            "early": sum(1 for value in lateness if value < 0),
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "max_ms": lateness[-1] if lateness else 0.0,
        }


TALLY = Tally()


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._id = b""
        self._scheduled_for = b""
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Note which of the three paths it is."""
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the two headers that count."""
        lowered = name.lower()
        if lowered == b"webhook-id":
            self._id = value
        elif lowered == b"countwheel-scheduled-for":
            self._scheduled_for = value

    def on_message_complete(self) -> None:
        """Count, and answer."""
        if self._path == b"/summary":
            body = json.dumps(TALLY.summary()).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            return
        if self._path == b"/reset":
            TALLY.__init__()  # type: ignore[misc] # as new
        elif self._id:
            TALLY.received += 1
            TALLY.ids[self._id] = TALLY.ids.get(self._id, 0) + 1
            TALLY.arrivals.append((time.time(), self._scheduled_for))
        self._transport.write(ANSWER)


async def main(port: int, *certificate: str) -> None:
    """Serve until killed, over TLS where a certificate and its key are given."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
    if tls is not None:
        tls.load_cert_chain(*certificate)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048, ssl=tls)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
