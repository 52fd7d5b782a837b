"""`python -m simulator`: one history by its seed, or many; exit code 0 only if every promise was kept in all."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg

from countwheel.clock import SystemClock
from countwheel.embedded.supervisor import EmbeddedPostgres
from simulator.many import play_many
from simulator.play import play
from simulator.prepare import prepare


@contextmanager
def _database() -> Iterator[str]:
    """Lend a PostgreSQL of our own with the schema, on virtual time."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-simulator-"))
    settings = {"fsync": "off", "synchronous_commit": "off", "autovacuum": "off"}
    postgres = EmbeddedPostgres(folder, SystemClock(), progress=lambda _: None, settings=settings)
    try:
        dsn = asyncio.run(postgres.start())
        prepare(dsn)
        yield dsn
    finally:
        asyncio.run(postgres.stop())
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Play what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Histories by seed, on virtual time.")
    parser.add_argument("--seed", type=int, default=1, help="the seed, or the first of many (default 1)")
    parser.add_argument("--count", type=int, default=1, help="how many histories (default 1)")
    parser.add_argument("--keep", type=Path, help="keep the history of one seed, for python -m checker")
    given = parser.parse_args()
    with _database() as dsn:
        if given.count == 1:
            with psycopg.connect(dsn, autocommit=True) as connection:
                played = play(connection, given.seed)
            if given.keep:
                played.history.save(given.keep)
            print(f"seed {played.seed}, {played.statements} statements, digest {played.digest[:16]}")
            print(played.verdict.text())
            return 0 if played.verdict.passed else 1
        return _many(dsn, range(given.seed, given.seed + given.count))


def _many(dsn: str, seeds: range) -> int:
    began = monotonic()
    summary = play_many(dsn, seeds)
    print(f"{summary.text()}, {monotonic() - began:.1f} s")
    return 0 if not summary.failed else 1


if __name__ == "__main__":
    sys.exit(main())
