"""The peers: how each is started, how it is tuned, and how its table tells that nothing is left."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers import install

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer and its settings. `is_left` is a query: whether a job is not durably done yet."""

    name: str
    package: str
    is_node: bool
    harness: str
    is_left: str
    worker: Settings

    def command(self) -> list[str]:
        """Return what starts its harness."""
        if self.is_node:
            return [str(install.node()), str(install.NODE_HARNESSES / f"{self.harness}.js")]
        return [str(install.python()), "-m", f"benchmarks.peers.python.{self.harness}"]

    def version(self) -> str:
        """Return the version that is installed. Raises `FileNotFoundError` where none is."""
        return install.version(self.package, is_node=self.is_node)


# 500 jobs a fetch and completions together, as its "performance" page advises; all else as it comes. What is due later
# is found by polling alone: every 100 ms here (by itself every 2 s).
_GRAPHILE = Peer(
    name="graphile-worker",
    package="graphile-worker",
    is_node=True,
    harness="graphile-worker",
    is_left="SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)",
    worker={
        "worker": {
            "concurrentJobs": 128,
            "maxPoolSize": 10,
            "pollInterval": 100,
            "localQueue": {"size": 500},
            "completeJobBatchDelay": 10,
            "failJobBatchDelay": 10,
        },
    },
)
_PG_BOSS = Peer(
    name="pg-boss",
    package="pg-boss",
    is_node=True,
    harness="pg-boss",
    is_left="SELECT EXISTS (SELECT FROM pgboss.job WHERE name = 'call' AND state < 'completed')",
    worker={
        # Half a second and one second are the least that it takes.
        "work": {"batchSize": 500, "localConcurrency": 4, "pollingIntervalSeconds": 0.5, "burstWhenBatchFull": True},
        "boss": {"max": 10, "cronMonitorIntervalSeconds": 1, "cronWorkerIntervalSeconds": 1},
    },
)
_PGQUEUER = Peer(
    name="pgqueuer",
    package="pgqueuer",
    is_node=False,
    harness="pgqueuer_harness",
    is_left="SELECT EXISTS (SELECT FROM pgqueuer)",
    worker={"batch_size": 500, "dequeue_timeout_seconds": 0.1, "max_concurrent_tasks": None, "pool": 10},
)
_PROCRASTINATE = Peer(
    name="procrastinate",
    package="procrastinate",
    is_node=False,
    harness="procrastinate_harness",
    is_left="SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
    worker={"concurrency": 64, "fetch_job_polling_interval": 0.1, "pool": 16},
)


def _with(peer: Peer, name: str, **worker: object) -> Peer:
    return replace(peer, name=name, worker={**peer.worker, "worker": worker})


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        _GRAPHILE,
        # As it comes, but for its concurrency (by itself: one job at a time) and the polling.
        _with(_GRAPHILE, "graphile-worker-default", concurrentJobs=32, maxPoolSize=34, pollInterval=100),
        # As punctual as its own settings make it.
        _with(_GRAPHILE, "graphile-worker-10ms", **{**_GRAPHILE.worker["worker"], "pollInterval": 10}),
        _PG_BOSS,
        _PGQUEUER,
        _PROCRASTINATE,
    )
}
