"""The clients of `benchmarks.creates`: a process of its own that does as little as can be done for each request.

python -m benchmarks.create_load PORT KEYS SECONDS CLIENTS PREFIX <<< TOKEN

KEYS is `fresh` (a new Idempotency-Key each), `repeated` (the keys that a `fresh` load with the same PREFIX used) or
`none`. Prints one JSON object: answers by status, the seconds, latencies in milliseconds, and its own CPU.
"""

import asyncio
import json
import resource
import sys
import time
from itertools import count
from typing import cast

import uvloop

_BODY = (
    b'{"schedule_oneoff":"2099-01-01T09:00:00Z","job_url":"http://127.0.0.1:9/hook","job_payload":{"hello":"world"},'
    b'"name":"bench"}'
)
_LENGTH = b"content-length: "


class Client(asyncio.Protocol):
    """Sends the next request when the answer to the last one is here."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """A server that hangs up has lost us an answer."""
        if not self._load.is_over:
            self._load.fail("connection lost")

    def data_received(self, data: bytes) -> None:
        """Take in an answer, which may come in parts."""
        received = self._received = self._received + data if self._received else data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        at = received.find(_LENGTH) + len(_LENGTH)
        if len(received) < end_of_head + 4 + int(received[at : received.find(b"\r", at)]):
            return
        self._load.take(received[9:12], time.perf_counter() - self._sent_at)
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if (request := self._load.next_request(self._sent_at)) is not None:
            self._transport.write(request)
        else:
            self._transport.close()


class Load:
    """What all clients share."""

    def __init__(self, token: str, keys: str, prefix: str, seconds: float, clients: int) -> None:
        body_head = f"content-type: application/json\r\ncontent-length: {len(_BODY)}\r\n"
        self._head = (
            f"POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n{body_head}"
        ).encode()
        self._key = None if keys == "none" else f'idempotency-key: "{prefix}-%d"\r\n\r\n'.encode()
        self._numbers = count()
        self._until = time.perf_counter() + seconds
        self._left = clients
        self.ended = asyncio.get_running_loop().create_future()
        self.is_over = False
        self.by_status: dict[str, int] = {}
        self.latencies: list[float] = []

    def next_request(self, now: float) -> bytes | None:
        """Return what a client sends next; None at the end."""
        if now >= self._until:
            self.is_over = True
            self._left -= 1
            if self._left == 0:
                self.ended.set_result(None)
            return None
        if self._key is None:
            return self._head + b"\r\n" + _BODY
        return self._head + self._key % next(self._numbers) + _BODY

    def take(self, status: bytes, seconds: float) -> None:
        """Count an answer."""
        name = status.decode()
        self.by_status[name] = self.by_status.get(name, 0) + 1
        self.latencies.append(seconds)

    def fail(self, why: str) -> None:
        """End at once."""
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(why))


async def main(port: int, keys: str, seconds: float, clients: int, prefix: str) -> None:
    """Load the server and print what came of it."""
    load = Load(sys.stdin.readline().strip(), keys, prefix, seconds, clients)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(clients):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", port)
    await load.ended
    took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    ordered = sorted(load.latencies)
    print(
        json.dumps(
            {
                "by_status": load.by_status,
                "seconds": took,
                "p50_ms": ordered[len(ordered) // 2] * 1000,
                "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
                "max_ms": ordered[-1] * 1000,
                "cpu_seconds": used.ru_utime + used.ru_stime,
            }
        )
    )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
