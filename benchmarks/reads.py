"""Reads: how long a page takes, of every listing and filter, over a million jobs and ten million runs.

The server is a process of its own, asked over HTTP with a token, one request after the other; a deep page begins
anywhere in its listing. The data directory is filled once (`benchmarks/history.py`) and kept in the cache folder.
"""

import asyncio
import json
import os
import re
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import psycopg

from benchmarks.history import SMALL, dsn_of, filled_directory
from benchmarks.kinds import Kind, Sample, kinds
from benchmarks.measured import Goal, Measurement
from benchmarks.row import Row
from benchmarks.stage import free_port, start
from countwheel.auth import bootstrap
from countwheel.client import Countwheel
from countwheel.client.credentials import load
from countwheel.clock import SystemChance
from countwheel.store.database import Database

_GOAL = Goal("worst_p99_ms", "ms", at_most=20)
_GROUPS = {
    "jobs": r"jobs",
    "one job, one run": r"(job|run)$",
    "runs of all jobs": r"runs(?! of (one|a busy) job)",
    "runs of one job": r"runs of (one|a busy) job",
    "of a tenant with few jobs": SMALL,
    "groups of failures": r"failures",
}
"""The cases of the row: how the names of their kinds begin."""
_WARM_UP, _LEAST = 3, 10
_ENOUGH_MS = 3000.0
"""A kind that takes so long in all is known to be slow."""
_SAMPLES = """
    SELECT
        ARRAY(
            SELECT job_id FROM jobs TABLESAMPLE SYSTEM (%(share)s) WHERE tenant_id = t.tenant_id
            ORDER BY md5(job_id::text) LIMIT 500
        ) AS jobs,
        ARRAY(
            SELECT name FROM jobs TABLESAMPLE SYSTEM (%(share)s) WHERE tenant_id = t.tenant_id AND name > ''
            ORDER BY md5(job_id::text) LIMIT 500
        ) AS names,
        ARRAY(
            SELECT to_json(ARRAY[job_id::text, run_id::text, finished_at::text])
            FROM run_history TABLESAMPLE SYSTEM (%(share)s)
            WHERE tenant_id = t.tenant_id ORDER BY md5(run_id::text) LIMIT 5000
        ) AS ended,
        ARRAY(
            SELECT to_json(ARRAY[job_id::text, run_id::text, due_at::text]) FROM runs TABLESAMPLE SYSTEM (%(share)s)
            WHERE tenant_id = t.tenant_id ORDER BY md5(run_id::text) LIMIT 500
        ) AS live,
        (SELECT job_id FROM jobs WHERE tenant_id = t.tenant_id AND job_payload LIKE '{"number": 2,%%' LIMIT 1) AS busy
    FROM tenants t WHERE t.name = %(tenant)s
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a kind of page took, in milliseconds; how many items it had; how many of its pages were short and led on."""

    kind: str
    requests: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    items: float
    short: int


async def ask(cache: Path, scale: float, requests: int, only: str) -> list[Figure]:
    """Fill where need be, ask, and return the figures."""
    filled = await filled_directory(cache, scale)
    port = free_port()
    environment = {
        "COUNTWHEEL_PORT": str(port),
        "COUNTWHEEL_DATA_DIR": str(filled.data_dir),
        "COUNTWHEEL_LOG_LEVEL": "warning",
    }
    server = await start("countwheel", "dev", until=b"See it arrive", environment=environment)
    try:
        url, dsn = f"http://127.0.0.1:{port}", dsn_of(filled.data_dir)
        async with aiohttp.ClientSession() as session:
            tokens = {
                "default": await asyncio.to_thread(Countwheel(load(filled.data_dir)).fetch_token),
                SMALL: await _token_of(session, url, dsn, SMALL),
            }
            sample = _sample(dsn, share=100 if scale < 0.1 else 1)
            figures = []
            for kind in kinds(sample):
                if re.search(only, kind.name):
                    figures.append(await _ask(session, url, tokens[kind.tenant], kind, requests))
                    _print(figures[-1])
            return figures
    finally:
        server.terminate()
        await server.communicate()


async def _ask(session: aiohttp.ClientSession, url: str, token: str, kind: Kind, requests: int) -> Figure:
    took, items, short = list[float](), 0, 0
    for number, path in enumerate(_over_and_over(kind.paths, _WARM_UP + requests)):
        began = time.perf_counter()
        async with session.get(url + path, headers={"Authorization": f"Bearer {token}"}) as response:
            body = await response.read()
            elapsed = (time.perf_counter() - began) * 1000
        if response.status != 200:
            raise RuntimeError(f"{kind.name}: {response.status} {body[:300]!r} for {path}")
        if number < _WARM_UP:
            continue
        if sum(took) > _ENOUGH_MS and len(took) >= _LEAST:
            break
        took.append(elapsed)
        answer = json.loads(body)
        found = len(answer.get("items", [None]))
        items += found
        short += found < 50 and bool(answer.get("next_page_token"))
    cuts = quantiles(took, n=100, method="inclusive")
    return Figure(kind.name, len(took), cuts[49], cuts[98], max(took), items / len(took), short)


def _over_and_over(paths: list[str], count: int) -> Iterator[str]:
    return islice(cycle(paths), count)


def _sample(dsn: str, *, share: float) -> dict[str, Sample]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = {}
        for tenant in ("default", SMALL):
            whole = {"tenant": tenant, "share": 100 if tenant == SMALL else share}
            row = connection.execute(_SAMPLES, whole).fetchone()
            if row is None:
                raise RuntimeError(f"there is no tenant {tenant}")
            found[tenant] = Sample(*row)
        return found


async def _token_of(session: aiohttp.ClientSession, url: str, dsn: str, tenant: str) -> str:
    """Return a token of another tenant, for a client made for it."""
    database = Database(dsn, name="bench", size=1)
    await database.open()
    scopes = frozenset({"jobs:read", "runs:read"})
    client_id, secret = await bootstrap.create_client(
        database, SystemChance(), name="bench", tenant=tenant, scopes=scopes
    )
    await database.close()
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    async with session.post(f"{url}/oauth/token", data=form) as response:
        token: str = (await response.json())["access_token"]
        return token


def _print(figure: Figure) -> None:
    print(
        f"{figure.kind:44} p50 {figure.p50_ms:8.2f} ms   p99 {figure.p99_ms:8.2f} ms   max {figure.max_ms:8.2f} ms   "
        f"{figure.items:5.1f} items   {figure.short:4} short   {'' if figure.p99_ms <= 20 else 'ABOVE THE GOAL'}",
        flush=True,
    )


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is a million jobs and ten million runs")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / f"countwheel-reads-{os.getuid()}")
    parser.add_argument("--requests", type=int, default=200, help="of each kind")
    parser.add_argument("--only", default="", help="kinds whose name matches this expression")


async def _run(given: Namespace) -> list[Measurement]:
    rounds = [await ask(given.cache, given.scale, given.requests, given.only) for _ in range(given.rounds)]
    cases = []
    for group, pattern in _GROUPS.items():
        groups = [[figure for figure in figures if re.match(pattern, figure.kind)] for figures in rounds]
        if groups[0]:
            cases.append(Measurement(group, [_figures(figures) for figures in groups], (_GOAL,)))
    return cases


def _figures(figures: list[Figure]) -> dict[str, float]:
    return {
        "kinds": len(figures),
        "p50_ms": median(figure.p50_ms for figure in figures),
        "worst_p99_ms": max(figure.p99_ms for figure in figures),
        "kinds_above": sum(figure.p99_ms > 20 for figure in figures),
        "short_share": sum(figure.short for figure in figures) / sum(figure.requests for figure in figures),
    }


ROW = Row("reads", "S10 reads", "pages of every listing and filter, first and deep", _arguments, _run, rounds=1)
