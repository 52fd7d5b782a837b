"""A fast receiver in a process of its own: it answers every call at once, and writes down what came when.

python -m benchmarks.sink PORT RECEIPTS [CERTIFICATE KEY]

It shares the machine with what is measured, so it does next to nothing a call: one receive, one record, one send. The
records go into a file (`benchmarks.receipts` reads it, when nothing is measured any more). `GET /count` tells how many
calls came, and makes sure that they are in the file.
"""

import asyncio
import gc
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.receipts import RECORD

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_FLUSH_BYTES = 65_536
_END = b"\r\n\r\n"
_ID, _SCHEDULED, _LENGTH, _CHUNKED = b"webhook-id: ", b"countwheel-scheduled-for: ", b"content-length: ", b"chunked"


class Receiver:
    """What has come. Takes bytes of a connection and says what to answer."""

    def __init__(self, receipts: Path) -> None:
        self._file = receipts.open("ab", buffering=0)
        self._pending = bytearray()
        self._count = 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the answer to the requests that are whole, and the bytes after them."""
        answer = b""
        while data:
            head_end = data.find(_END)
            if head_end < 0:
                break
            end = _end_of_body(data, head_end)
            if end < 0 or end > len(data):
                break
            answer += self._answer(data, head_end)
            data = data[end:]
        return answer, data

    def _answer(self, data: bytes, head_end: int) -> bytes:
        if data.startswith(b"GET /count"):
            self.flush()
            body = b"%d" % self._count
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        self._count += 1
        flow = data.find(b"/") + 1
        self._pending += RECORD.pack(
            time.time(),
            _header(data, _ID, head_end),
            _header(data, _SCHEDULED, head_end),
            data[flow : flow + 1],
        )
        if len(self._pending) > _FLUSH_BYTES:
            self.flush()
        return ANSWER

    def flush(self) -> None:
        """Write what is not in the file yet."""
        self._file.write(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Write the rest, and leave the file."""
        self.flush()
        self._file.close()


def _header(data: bytes, name: bytes, head_end: int) -> bytes:
    at = data.find(name, 0, head_end)
    if at < 0:  # in another case, or not there
        name = name.strip()
        at = data[:head_end].lower().find(name)
    at += len(name)
    return data[at : data.find(b"\r", at)].strip() if at >= len(name) else b""


def _end_of_body(data: bytes, head_end: int) -> int:
    """Return where the request's body ends, -1 where that is not to be seen yet."""
    at = data.find(_LENGTH, 0, head_end)
    if at >= 0:
        return head_end + 4 + int(data[at + 16 : data.find(b"\r", at)])
    head = data[:head_end].lower()
    if _CHUNKED in head:
        end = data.find(b"0\r\n\r\n", head_end)
        return end + 5 if end >= 0 else -1
    at = head.find(_LENGTH.strip())
    return head_end + 4 + (int(head[at + 15 :].split(b"\r")[0]) if at >= 0 else 0)


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._transport: Any = None
        self._unfinished = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what has come as a whole."""
        answer, self._unfinished = self._receiver.take(self._unfinished + data)
        if answer:
            self._transport.write(answer)


async def serve(port: int, receiver: Receiver, *certificate: str) -> None:
    """Serve until killed, over TLS where a certificate and its key are given."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
    if tls is not None:
        tls.load_cert_chain(*certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(receiver), "127.0.0.1", port, backlog=2048, ssl=tls)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    gc.disable()  # there are no cycles here, and a collection would hold up whoever is answered meanwhile
    uvloop.run(serve(int(sys.argv[1]), Receiver(Path(sys.argv[2])), *sys.argv[3:]))
