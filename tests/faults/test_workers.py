"""`serve --workers N`: several nodes on one port, kept alive by a supervisor that holds nothing but the socket."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from countwheel.clock import SystemClock
from countwheel.testing import Reply, WebhookReceiver
from countwheel.workers import WorkerPlan, Workers
from harness import START_SECONDS, Node, ServeNode, descendants, eventually, is_running, running_node, soon


async def live_pids(node: Node, workers: ServeNode) -> set[int]:
    """Return the pids of the workers that are registered as living nodes."""
    assert workers.process is not None
    children = descendants(workers.process.pid)
    listed = (await node.api.call("GET", "/v1/nodes?page_size=200")).json["items"]
    return {entry["pid"] for entry in listed if entry["status"] == "LIVE"} & children


async def until_alive(node: Node, workers: ServeNode, count: int) -> set[int]:
    async def are_alive() -> set[int] | None:
        pids = await live_pids(node, workers)
        return pids if len(pids) == count else None

    found: set[int] = await eventually(are_alive, START_SECONDS)
    return found


async def test_workers_share_a_port_and_a_dead_one_is_replaced(dsn: str, receiver: WebhookReceiver) -> None:
    """kill -9 of one of two workers: the port answers all the while, its calls are sent again by the other at once and
    not when a lease has ended, a fresh one takes its place; SIGTERM stops all of them with exit code 0.
    """
    gate = asyncio.Event()
    receiver.answer_with(lambda call: Reply(after=gate) if call.headers["countwheel-fence"] == "1" else Reply())
    async with running_node(dsn) as node:
        await node.engine.claimer.stop()
        async with ServeNode(dsn, arguments=("--workers", "2"), COUNTWHEEL_LEASE_SECONDS="60") as workers:
            pids = await until_alive(node, workers, 2)
            jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url) for _ in range(8)]
            await receiver.wait_for(8)
            killed = await _holder(node, jobs)
            os.kill(killed, signal.SIGKILL)

            async def is_gone() -> bool:
                return not is_running(killed)

            await eventually(is_gone)
            assert await _answers(workers.url, 50) == {200}
            for job in jobs:
                if await _holder_of(node, job) in {killed, None}:
                    assert "lost" in (await node.api.run_when(job, "SUCCEEDED"))["attempts"][0]["error"]
            gate.set()
            replaced = await until_alive(node, workers, 2)
            assert killed not in replaced
            assert replaced & pids
            workers.send(signal.SIGTERM)
            assert await workers.end() == 0
            assert not any(is_running(pid) for pid in replaced)


async def test_workers_stop_when_their_supervisor_is_killed(dsn: str) -> None:
    """kill -9 of the supervisor: the workers stop gracefully, and none is left behind."""
    async with running_node(dsn) as node, ServeNode(dsn, arguments=("--workers", "2")) as workers:
        pids = await until_alive(node, workers, 2)
        workers.send(signal.SIGKILL)
        await workers.end()

        async def are_gone() -> bool:
            return not any(is_running(pid) for pid in pids)

        await eventually(are_gone)
        listed = (await node.api.call("GET", "/v1/nodes")).json["items"]
        assert {entry["status"] for entry in listed if entry["pid"] in pids} == {"STOPPED"}


async def test_roles_split_what_a_node_does(dsn: str, receiver: WebhookReceiver) -> None:
    """A node with the role api creates jobs and calls nobody; one with the role engine calls, and answers its health
    alone.
    """
    async with (
        ServeNode(dsn, arguments=("--role", "engine")) as engine,
        running_node(dsn, roles=("api",)) as api,
        aiohttp.ClientSession() as session,
    ):
        job = await api.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
        found = await api.api.run_when(job, "SUCCEEDED")
        assert engine.process is not None
        assert f"-{engine.process.pid}-" in found["node_id"]
        async with session.get(f"{engine.url}/readyz") as health, session.get(f"{engine.url}/v1/jobs") as jobs:
            assert (health.status, jobs.status) == (200, 404)
        listed = (await api.api.call("GET", "/v1/nodes")).json["items"]
        assert sorted(entry["roles"] for entry in listed) == [["api"], ["engine"]]


async def test_an_api_alone_is_not_ready(dsn: str) -> None:
    """Nobody calls anything: /readyz is 503 until a node with the role engine is there."""
    async with running_node(dsn, roles=("api",)) as api:
        answer = await api.api.call("GET", "/readyz")
        assert (answer.status, answer.json["detail"]) == (503, "no node holds a lease: nothing is being called")


async def _answers(url: str, count: int) -> set[int]:
    """Return the statuses of so many requests, each on a connection of its own."""
    statuses = set()
    for _ in range(count):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/livez") as answer:
            statuses.add(answer.status)
    return statuses


async def _holder(node: Node, jobs: list[dict[str, Any]]) -> int:
    """Return the pid of the worker that holds the first of these runs that is held."""
    for job in jobs:
        if (pid := await _holder_of(node, job)) is not None:
            return pid
    raise AssertionError("no run is held")


async def _holder_of(node: Node, job: dict[str, Any]) -> int | None:
    node_id = (await node.api.run(job))["node_id"]
    return int(node_id.rsplit("-", 2)[1]) if node_id else None


async def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No process is to be had for a while (EAGAIN): the supervisor goes on, and has its worker in the end."""
    start, refusals = asyncio.create_subprocess_exec, iter([BlockingIOError("no process"), OSError("no memory")])

    async def refuse_twice(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        for refusal in refusals:
            raise refusal
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_twice)
    began = tmp_path / "began"
    plan = WorkerPlan(["sh", "-c", f"touch {began}; exec cat"], {"PATH": os.environ["PATH"]}, stop_seconds=20.0)
    stop = asyncio.Event()
    with socket.socket() as listener:
        running = asyncio.create_task(Workers(1, plan, listener, SystemClock()).run(stop))

        async def is_there() -> bool:
            return began.exists()

        await eventually(is_there)
        assert list(refusals) == []
        stop.set()
        assert await running == 1, "sh knows no graceful stop: it is killed by SIGTERM"
