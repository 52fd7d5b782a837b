"""`make bench`: drain and punctuality, three rounds each, with the machine's limits beside them.

python -m benchmarks [--rounds N] [--jobs N]
"""

import argparse
import asyncio
from statistics import median

import uvloop

from benchmarks.drain import drain
from benchmarks.limits import commits_per_second, raw_calls_per_second
from benchmarks.punctuality import punctuality
from benchmarks.stage import stage

RATE = 500


async def main(rounds: int, jobs: int) -> None:
    """Measure and print."""
    async with stage() as on:
        calls = await raw_calls_per_second(on, 50_000)
        commits = await commits_per_second(on)
        print(f"limits      raw client loop {calls:9,.0f} calls/s   one-row commits {commits:9,.0f}/s")
        drains = []
        for number in range(rounds):
            done = await drain(on, jobs, lead_seconds=5 + jobs / 800)
            drains.append(done)
            print(
                f"drain {number + 1}/{rounds}   {done.durable_per_second:7,.0f} durable runs/s   "
                f"{done.sent_per_second:7,.0f} sent/s   created at {done.creates_per_second:7,.0f}/s   "
                f"missing {done.missing}  doubles {done.doubles}  early {done.early}"
            )
        streams = []
        for number in range(rounds):
            stream = await punctuality(on, RATE, seconds=10, lead_seconds=5 + RATE * 10 / 800)
            streams.append(stream)
            print(
                f"punctual {number + 1}/{rounds} {RATE}/s   lateness p50 {stream.p50_ms:6.2f} ms   "
                f"p99 {stream.p99_ms:6.2f} ms   max {stream.max_ms:6.2f} ms   "
                f"missing {stream.missing}  doubles {stream.doubles}  early {stream.early}"
            )
        print(
            f"medians     drain {median(done.durable_per_second for done in drains):,.0f} durable runs/s   "
            f"punctuality p50 {median(stream.p50_ms for stream in streams):.2f} ms   "
            f"p99 {median(stream.p99_ms for stream in streams):.2f} ms"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Drain and punctuality.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=20_000)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(arguments.rounds, arguments.jobs))
