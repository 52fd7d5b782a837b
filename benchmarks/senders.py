"""The sender against aiohttp: CPU time a call and calls a second, with everything on, over plain HTTP and over TLS.

Guard, total time-out, capped read, a signed call with all its headers; 64 calls at once; the sink in its own process.
Each sender's rounds alternate with the other's.

python -m benchmarks.senders [--calls N] [--rounds N]
"""

import argparse
import asyncio
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from statistics import median
from uuid import UUID

import uvloop

from benchmarks.aiohttp_sender import AiohttpSender
from benchmarks.stage import free_port, start
from countwheel.delivery.guard import Guard
from countwheel.delivery.request import Credentials, Delivery, build_call
from countwheel.delivery.sender import HttpSender, Sender
from countwheel.domain.attempt import Call, Response

CALLS_AT_ONCE = 64


async def main(calls: int, rounds: int) -> None:
    """Measure both senders over both schemes and print the medians."""
    with tempfile.TemporaryDirectory(prefix="countwheel-bench-") as folder:
        certificate, key = _make_certificate(Path(folder))
        for scheme, arguments in (("http", ()), ("https", (certificate, key))):
            port = free_port()
            sink = await start("benchmarks.sink", str(port), f"{folder}/receipts", *arguments, until=b"listening")
            try:
                await _compare(f"{scheme}://localhost:{port}/hook", certificate, calls, rounds)
            finally:
                sink.terminate()
                await sink.communicate()


async def _compare(url: str, certificate: str, calls: int, rounds: int) -> None:
    tls = ssl.create_default_context(cafile=certificate)
    guard = Guard((ip_network("127.0.0.0/8"), ip_network("::1/128")), allow_http=True)
    makers: dict[str, Callable[[], Sender]] = {
        "aiohttp": lambda: AiohttpSender(guard, connections=256, tls=tls),
        "ours": lambda: HttpSender(guard, connections=256, tls=tls),
    }
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, make in makers.items():
            figures[name].append(await _measure(make(), _call(url), calls))
    for name, measured in figures.items():
        cpu, rate = (median(values) for values in zip(*measured, strict=True))
        print(f"{url.partition(':')[0]:6} {name:8} {cpu:6.1f} us CPU a call   {rate:8,.0f} calls/s   ({rounds} rounds)")


async def _measure(sender: Sender, call: Call, calls: int) -> tuple[float, float]:
    """Return microseconds of this process's CPU time a call, and calls a second."""

    async def client(numbers: Iterator[int]) -> None:
        for _ in numbers:
            result = await sender.send(call, lambda: True)
            if not isinstance(result, Response) or result.status != 200:
                raise RuntimeError(f"the sink failed: {result}")

    async def run(count: int) -> None:
        numbers = iter(range(count))
        await asyncio.gather(*(client(numbers) for _ in range(CALLS_AT_ONCE)))

    await run(calls // 10)
    cpu, began = time.process_time(), time.monotonic()
    await run(calls)
    spent, seconds = time.process_time() - cpu, time.monotonic() - began
    await sender.close()
    return spent / calls * 1e6, calls / seconds


def _call(url: str) -> Call:
    delivery = Delivery(
        run_id=UUID(int=1),
        job_id=UUID(int=2),
        attempt=1,
        fence=1,
        scheduled_for=datetime(2026, 1, 1, tzinfo=UTC),
        trigger="schedule",
        url=url,
        body=b'{"hello":"world"}',
        timeout_seconds=30.0,
    )
    return build_call(delivery, Credentials([b"secret"]), now=delivery.scheduled_for, user_agent="benchmark")


def _make_certificate(folder: Path) -> tuple[str, str]:
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    names = ("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate)
    subprocess.run((*command.split(), *names), check=True, capture_output=True)
    return certificate, key


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our sender against aiohttp.")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(arguments.calls, arguments.rounds))
