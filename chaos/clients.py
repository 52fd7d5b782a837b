"""Clients that do what clients do, over HTTP, and note what they know: invoked, answered, or unknown.

Each label is one job and belongs to one client, so that operations on it never overlap. An operation whose answer does
not come is repeated at other nodes, with the same key; only when it is given up does it stay unknown.

Changes name the version that they change (If-Match): a request that is stuck in a frozen node must not be carried out
when that thaws, after later ones.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from checker.history import Completion, Operation, Receipt, Schedule

_TIMEOUT = aiohttp.ClientTimeout(total=8)
_TRIES = 4
_DEFINITE_FAILURES = frozenset({400, 404, 409, 412, 422})
_CREATED, _OK, _UNAUTHORIZED, _CONFLICT = 201, 200, 401, 409
_SAYS = 40
"""A completion is said so often at the most."""
_WORKS_LONGER = 0.2
_RECEIPT = msgspec.json.Decoder(Receipt)
_LAST_OPERATION = 16
_OVERLAPS = ("", "queue_one", "queue_all", "cancel_running", "allow")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many jobs of each kind there are at a time."""

    every_second: int = 20
    every_few_seconds: int = 60
    long_running: int = 12
    one_offs_a_second: float = 45.0

    def scaled(self, factor: float) -> "Plan":
        """Return a plan with `factor` times the load."""
        return Plan(
            max(1, round(self.every_second * factor)),
            max(1, round(self.every_few_seconds * factor)),
            max(1, round(self.long_running * factor)),
            self.one_offs_a_second * factor,
        )


@dataclass(frozen=True, slots=True)
class Made:
    """A job that is acknowledged."""

    label: str
    job_id: str
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class _Change:
    """A request that changes a job; `wanted` is how the job looks after it."""

    method: str
    verb: str
    body: dict[str, Any]
    wanted: dict[str, Any]


class Clients:
    """All clients of a round."""

    def __init__(
        self,
        urls: Callable[[], list[str]],
        credentials: tuple[str, str],
        sink_url: str,
        random: Random,
        *,
        receipts_file: Path | None = None,
    ) -> None:
        """`receipts_file` is where the sink notes what it has taken over, which is then completed from here."""
        self._urls = urls
        self._credentials = credentials
        self._sink_url = sink_url
        self._random = random
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._number = 0
        self._stopping = asyncio.Event()
        self._bodies: dict[str, dict[str, Any]] = {}
        self._receipts_file = receipts_file
        self.operations: list[Operation] = []
        self.completions: list[Completion] = []

    async def run(self, plan: Plan) -> None:
        """Work until `stop`."""
        async with self.at_work():
            workers = [self._recurring("* * * * * *", "/flaky") for _ in range(plan.every_second)]
            workers += [self._recurring(self._every(2 + n % 5), "/ok") for n in range(plan.every_few_seconds)]
            workers += [self._recurring(self._every(3), "/long") for _ in range(plan.long_running)]
            workers += [self._one_offs(plan.one_offs_a_second / 4) for _ in range(4)]
            await asyncio.gather(*workers, self._complete_what_was_taken_over())

    def stop(self) -> None:
        """Begin nothing new; what is under way is finished."""
        self._stopping.set()

    async def create_all(self, schedules: Sequence[Schedule], path: str, clients: int = 16) -> list[Made]:
        """Create a job for each schedule, as a number of clients would, and return those that are acknowledged."""
        waiting = iter(schedules)
        made: list[Made] = []

        async def client() -> None:
            for schedule in waiting:
                label, job_id = await self._create(schedule, path, hold=False)
                if job_id is not None:
                    made.append(Made(label, job_id, schedule))

        async with self.at_work():
            await asyncio.gather(*(client() for _ in range(clients)))
        return made

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let operations be sent until the block ends."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as self._session:
            yield

    def _every(self, seconds: int) -> str:
        """Return a schedule of every few seconds, with an offset: all at one second would measure the machine."""
        return f"{self._random.randrange(seconds)}-59/{seconds} * * * * *"

    async def _recurring(self, cron: str, path: str) -> None:
        """Live the life of one recurring job after another."""
        await self._pause(self._random.uniform(0, 3))
        while not self._stopping.is_set():
            hold = self._random.random() < 0.25
            overlap = self._random.choices(_OVERLAPS, (6, 1, 1, 1, 1))[0]
            label, job_id = await self._create(Schedule(cron=cron), path, hold=hold, overlap=overlap)
            if job_id is None:
                continue
            for _ in range(self._random.randrange(2, _LAST_OPERATION)):
                await self._pause(self._random.uniform(1.5, 6))
                if self._stopping.is_set():
                    return
                await self._change(label, job_id, cron)
            await self.delete(label, job_id)

    async def _change(self, label: str, job_id: str, cron: str) -> None:
        """Do one thing to a job: leave it alone, mostly."""
        match self._random.choices(("leave", "amend", "pause", "cancel", "run", "redrive"), (5, 3, 1, 2, 1, 2))[0]:
            case "amend":
                await self.reschedule(label, job_id, self._random.choice((cron, "*/4 * * * * *", "1-59/2 * * * * *")))
            case "pause":
                await self.move("pause", label, job_id)
                await self._pause(self._random.uniform(1, 4))
                await self.move("resume", label, job_id)
            case "cancel":
                await self.cancel_next(label, job_id)
            case "run":
                await self.run_now(label, job_id)
            case "redrive":
                # No operation to be judged by: whether and how often it is carried out, each receipt needs its cause.
                dead = {"filter": {"job_id": job_id, "status": ["FAILED"]}}
                await self._send("POST", "/v1/runs:redrive", dead, None)

    async def reschedule(self, label: str, job_id: str, cron: str) -> None:
        """Give a job another schedule: with a PATCH, or with a PUT of the whole."""
        operation = Operation("amend", label, 0.0, schedule=Schedule(cron=cron))
        wanted = {"schedule_recurring": cron}
        whole = self._bodies[label] | wanted if self._random.random() < 0.3 else None
        change = _Change("PATCH", "", wanted, wanted) if whole is None else _Change("PUT", "", whole, wanted)
        await self._amend(operation, job_id, change)

    async def delete(self, label: str, job_id: str) -> None:
        """Delete a job."""
        await self._operate(Operation("delete", label, time()), "DELETE", f"/v1/jobs/{job_id}")

    async def move(self, kind: str, label: str, job_id: str) -> None:
        """Pause a job, or resume it: from now, or from the pause."""
        wanted = {"status": "PAUSED" if kind == "pause" else "ACTIVE"}
        body = {"reason": "chaos"} if kind == "pause" else {"from": self._random.choice(("now", "pause"))}
        await self._amend(Operation(kind, label, 0.0), job_id, _Change("POST", f"/{kind}", body, wanted))

    async def run_now(self, label: str, job_id: str) -> None:
        """Want a run of a job now."""
        operation = Operation("run", label, time())
        key = {"Idempotency-Key": f"{label}-{len(self.operations)}"}
        answer = await self._operate(operation, "POST", f"/v1/jobs/{job_id}/run/", None, key)
        operation.answer = str((answer or {}).get("run_id", ""))

    async def _amend(self, operation: Operation, job_id: str, change: _Change) -> None:
        """Change the version of a job that was read just now, and no other."""
        path = f"/v1/jobs/{job_id}"
        status, job = await self._send("GET", path, None, None)
        if status != _OK:
            return
        operation.invoked_at = time()
        done = await self._operate(operation, change.method, path + change.verb, change.body, {"If-Match": job["etag"]})
        if done is not None or operation.outcome != "unknown":
            return
        # An earlier try may have gone through and made the later ones fail: the job tells, and no try can come after.
        now = await self._read(path)
        if now is not None and now["etag"] != job["etag"]:
            as_wanted = all(now.get(name) == value for name, value in change.wanted.items())
            operation.answered_at, operation.outcome = time(), "ok" if as_wanted else "fail"

    async def cancel_next(self, label: str, job_id: str) -> None:
        """Cancel what a job shows as its next run."""
        found = await self._read(f"/v1/jobs/{job_id}")
        if found is None or found["next_run"] is None:
            return
        run = found["next_run"]
        operation = Operation("cancel", label, time(), run_ms=_milliseconds(run["scheduled_for"]))
        answer = await self._operate(operation, "DELETE", f"/v1/jobs/{job_id}/run/{run['run_id']}/")
        operation.answer = str((answer or {}).get("status", ""))

    async def _one_offs(self, a_second: float) -> None:
        while not self._stopping.is_set():
            at_ms = int((time() + self._random.uniform(-0.2, 5)) * 1000)
            hold = self._random.random() < 0.25
            path = self._random.choices(("/ok", "/flaky", "/long"), (6, 2, 1))[0]
            works_longer = self._random.random() < _WORKS_LONGER
            label, job_id = await self._create(Schedule(at_ms=at_ms), path, hold=hold, works_longer=works_longer)
            if job_id is not None and self._random.random() < 0.1:
                await self.cancel_next(label, job_id)
            await self._pause(self._random.expovariate(a_second))

    async def _complete_what_was_taken_over(self) -> None:
        """Say of each run that the sink has taken over how it went, a while later, until somebody has heard it."""
        if self._receipts_file is None:
            return
        read, saying = 0, set[asyncio.Task[None]]()
        while True:
            stopping = self._stopping.is_set()
            lines = _whole_lines(self._receipts_file, read)
            read += len(lines) + 1 if lines else 0
            for receipt in map(_RECEIPT.decode, lines.splitlines()):
                if receipt.taken_over:
                    saying.add(asyncio.create_task(self._say(receipt)))
            if stopping:
                break
            await self._pause(0.1)
        if saying:
            await asyncio.wait(saying)

    async def _say(self, receipt: Receipt) -> None:
        await self._pause(self._random.uniform(0, 5))
        said = self._random.choices(("SUCCEEDED", "FAILED", "RETRY"), (8, 1, 1))[0]
        noted = Completion(receipt.label, receipt.run_id, receipt.fence, said, time())
        self.completions.append(noted)
        body = {"status": "SUCCEEDED" if said == "SUCCEEDED" else "FAILED", "retry": said == "RETRY"}
        callback = urlsplit(receipt.callback)
        for _ in range(_SAYS):
            status, _answer = await self._send("POST", f"{callback.path}?{callback.query}", body, None)
            if status in {_OK, _CONFLICT}:
                noted.answered_at, noted.answer = time(), "ok" if status == _OK else "refused"
                return
            await asyncio.sleep(self._random.uniform(0.1, 1.0))

    async def _create(
        self, schedule: Schedule, path: str, *, hold: bool, overlap: str = "", works_longer: bool = False
    ) -> tuple[str, str | None]:
        self._number += 1
        label = f"job-{self._number}"
        body: dict[str, Any] = {
            "job_url": self._sink_url + path,
            "job_payload": {"label": label},
            "name": label,
            "max_attempts": 4,
            "timeout_seconds": 10,
        }
        if schedule.cron is not None:
            body["schedule_recurring"] = schedule.cron
        else:
            at = datetime.fromtimestamp((schedule.at_ms or 0) / 1000, UTC)
            body["schedule_oneoff"] = at.isoformat(timespec="milliseconds")
        if hold:
            body["delivery"] = "at_most_once"
        if works_longer:
            body["callback"] = {"deadline_seconds": 30}
        if overlap:
            body["overlap"] = overlap
        self._bodies[label] = body
        operation = Operation("create", label, time(), schedule=schedule, hold=hold, overlap=overlap)
        answer = await self._operate(operation, "POST", "/v1/jobs", body, {"Idempotency-Key": label})
        return label, answer["job_id"] if answer else None

    async def _operate(
        self,
        operation: Operation,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Send a request until it is answered, and note what came of it."""
        self.operations.append(operation)
        in_doubt = False
        for _ in range(_TRIES):
            status, answer = await self._send(method, path, body, headers)
            if status in {_OK, _CREATED}:
                operation.answered_at, operation.outcome = time(), "ok"
                return answer
            if status in _DEFINITE_FAILURES:
                if in_doubt:  # an earlier try may have done it, and made this one fail
                    return None
                operation.answered_at, operation.outcome = time(), "fail"
                return None
            in_doubt = True
            await asyncio.sleep(self._random.uniform(0.1, 1.0))
        return None

    async def _read(self, path: str) -> dict[str, Any] | None:
        status, answer = await self._send("GET", path, None, None)
        return answer if status == _OK else None

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and answer of one request to one node; status 0 where none came."""
        if self._session is None:
            raise RuntimeError("the clients are not running")
        url = self._random.choice(self._urls())
        try:
            self._token = self._token or await self._fetch_token(url)
            sent = {"Authorization": f"Bearer {self._token}"} | (headers or {})
            async with self._session.request(method, url + path, json=body, headers=sent) as response:
                if response.status == _UNAUTHORIZED:
                    self._token = ""
                    return 0, {}
                return response.status, await response.json(content_type=None) | {"etag": response.headers.get("ETag")}
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            return 0, {}

    async def _fetch_token(self, url: str) -> str:
        if self._session is None:
            raise RuntimeError("the clients are not running")
        client_id, secret = self._credentials
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        async with self._session.post(f"{url}/oauth/token", data=form) as response:
            response.raise_for_status()
            return str((await response.json())["access_token"])

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the clients are to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _whole_lines(file: Path, begin: int) -> bytes:
    """Return the lines that are whole in a file from a place on, without the last one's end; none without the file."""
    if not file.exists():
        return b""
    with file.open("rb") as opened:
        opened.seek(begin)
        return opened.read().rpartition(b"\n")[0]
