"""Clients: they create, change, pause, cancel and delete, and note what they know. Answers get lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from checker.history import Operation, Schedule
from countwheel.domain import ids
from countwheel.domain.job import JobStatus, amended, define
from countwheel.domain.policy import Delivery
from countwheel.domain.schedule import recurring_of
from countwheel.store import cancellation, dead_letters, jobs
from countwheel.store.cancellation import CancelStep
from countwheel.store.changes import as_submitted, changing, holding
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.jobs import NewJob
from simulator.database import Server, SimDatabase
from simulator.loop import Actor, as_actor

TARGET_URL = "http://target.test/"
_CRONS = ("* * * * * *", "*/2 * * * * *", "1-59/3 * * * * *")
_TRIES = 4
_SETTLE_SECONDS = 6.0
_SETTLE_EVERY_SECONDS = 0.1


class Clients:
    """All clients of a history."""

    def __init__(self, server: Server, tenant_id: UUID) -> None:
        self._server = server
        self._database = SimDatabase(server)
        self._tenant_id = tenant_id
        self._actor = Actor("clients")
        self._random = server.random
        self._stopping = False
        self._number = 0
        self.operations: list[Operation] = []

    async def run(self, *, recurring: int, one_offs: int) -> None:
        """Work until `stop`."""
        lives = [self._recurring() for _ in range(recurring)] + [self._one_off() for _ in range(one_offs)]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(life, context=as_actor(self._actor)) for life in lives]
        await asyncio.wait(tasks)
        for task in tasks:
            task.result()

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping = True

    async def _recurring(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 2))
        cron = self._random.choice(_CRONS)
        hold = self._random.random() < 0.3
        label, job_id = await self._create(Schedule(cron=cron), hold=hold)
        while not self._stopping:
            await asyncio.sleep(self._random.uniform(0.3, 2))
            if job_id is None or self._stopping:
                return
            verbs = ("leave", "amend", "pause", "cancel", "redrive", "delete")
            match self._random.choices(verbs, (4, 2, 1, 2, 2, 1))[0]:
                case "amend":
                    await self._amend(label, job_id, self._random.choice(_CRONS))
                case "pause":
                    await self._move("pause", label, job_id, JobStatus.PAUSED)
                    if self._random.random() < 0.5:
                        await self._cancel(label, job_id)
                    await asyncio.sleep(self._random.uniform(0.2, 2))
                    await self._move("resume", label, job_id, JobStatus.ACTIVE)
                case "cancel":
                    await self._cancel(label, job_id)
                case "redrive":
                    await self._redrive(job_id)
                case "delete":
                    await self._delete(label, job_id)
                    return

    async def _one_off(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 2.5))
        at = self._server.now + timedelta(seconds=self._random.uniform(-0.5, 3))
        at_ms = ids.milliseconds_of(at)
        label, job_id = await self._create(Schedule(at_ms=at_ms), hold=self._random.random() < 0.3)
        if job_id is not None and self._random.random() < 0.2:
            await self._cancel(label, job_id)

    async def _operate(self, operation: Operation, act: Callable[[], Awaitable[str | None]]) -> bool:
        """Do something until it is answered. `act` returns the answer, or None where it was refused."""
        operation.invoked_at = self._now()
        self.operations.append(operation)
        in_doubt = False
        for _ in range(_TRIES):
            try:
                answer = await act()
            except DatabaseUnavailableError:
                in_doubt = True
                await asyncio.sleep(self._random.uniform(0.05, 0.5))
                continue
            if answer is None and in_doubt:  # an earlier try may have done it, and made this one fail
                return False
            operation.answered_at = self._now()
            operation.outcome = "fail" if answer is None else "ok"
            operation.answer = answer or ""
            return answer is not None
        return False

    async def _create(self, schedule: Schedule, *, hold: bool) -> tuple[str, UUID | None]:
        self._number += 1
        label = f"job-{self._number}"
        known: list[UUID] = []

        async def act() -> str | None:
            new = self._new_job(label, schedule, hold=hold)
            async with self._database.connection() as connection:
                created = await jobs.create(connection, [new])
                if not created:  # an earlier try went through: the key knows
                    cursor = await connection.execute("SELECT job_id FROM idempotency_keys WHERE key = %s", [label])
                    new_id = (await cursor.fetchone())[0]
                else:
                    new_id = new.job_id
            known.append(new_id)
            return "created"

        await self._operate(Operation("create", label, 0.0, schedule=schedule, hold=hold), act)
        return label, known[-1] if known else None

    async def _amend(self, label: str, job_id: UUID, cron: str) -> None:
        async def act() -> str | None:
            async with changing(self._database, self._tenant_id, job_id) as change:
                if change is None or change.job.state in {JobStatus.DELETED, JobStatus.COMPLETED}:
                    return None
                job = change.job
                if job.schedule_recurring == cron:
                    return "as it was"
                body = amended(as_submitted(job), {"schedule_recurring": cron})
                definition = define(body, job_id, now=job.now, target_refusal=lambda _: None)
                await change.amend(definition)
                await change.replan(recurring_of(definition), definition.first_occurrence, definition.first_due_at)
            return "amended"

        await self._operate(Operation("amend", label, 0.0, schedule=Schedule(cron=cron)), act)

    async def _move(self, kind: str, label: str, job_id: UUID, state: JobStatus) -> None:
        from_pause = state is JobStatus.ACTIVE and self._random.random() < 0.5

        async def act() -> str | None:
            async with changing(self._database, self._tenant_id, job_id) as change:
                if change is None or change.job.state in {JobStatus.DELETED, JobStatus.COMPLETED}:
                    return None
                if change.job.state == state:
                    return kind
                if state is JobStatus.PAUSED:
                    await change.pause(None)
                else:
                    await change.resume(from_pause=from_pause)
            return kind

        await self._operate(Operation(kind, label, 0.0), act)

    async def _cancel(self, label: str, job_id: UUID) -> None:
        try:
            async with self._database.connection() as connection:
                job = await jobs.find(connection, self._tenant_id, job_id)
        except DatabaseUnavailableError:
            return
        if job is None or job.next_run_id is None or job.next_scheduled_for is None:
            return
        run_id = job.next_run_id

        async def is_settled() -> bool:
            step = await cancellation.cancel_live(self._database, self._tenant_id, job_id, run_id)
            return step is not CancelStep.ASKED

        async def act() -> str | None:
            await self._settle(is_settled)
            async with self._database.connection() as connection:
                cursor = await connection.execute(
                    "SELECT status FROM run_history WHERE run_id = %s ORDER BY fence DESC LIMIT 1", [run_id]
                )
                row = await cursor.fetchone()
            return "CANCELED" if row is not None and row[0] == "CANCELED" else "DELETE"

        operation = Operation("cancel", label, 0.0, run_ms=ids.milliseconds_of(job.next_scheduled_for))
        await self._operate(operation, act)

    async def _redrive(self, job_id: UUID) -> None:
        """Send again what has failed of a job: no operation to be judged by, but each receipt needs its cause."""
        statement = "SELECT run_id FROM run_history WHERE job_id = %s AND status = 'FAILED' ORDER BY run_id"
        try:
            async with holding(self._database, self._tenant_id, job_id) as held:
                if held is None or held.job.state in {JobStatus.DELETED, JobStatus.PAUSED}:
                    return
                cursor = await held.connection.execute(statement, [job_id])
                due_ats = {row[0]: held.job.now for row in await cursor.fetchall()}
                await dead_letters.redrive(
                    held.connection, self._tenant_id, job_id, due_ats, statuses=("FAILED",), by="simulator"
                )
        except DatabaseUnavailableError:
            return

    async def _delete(self, label: str, job_id: UUID) -> None:
        async def are_ended() -> bool:
            return await cancellation.cancel_job_runs(self._database, self._tenant_id, job_id, "its job was deleted")

        async def act() -> str | None:
            async with self._database.connection() as connection:
                await jobs.mark_deleted(connection, self._tenant_id, job_id)
            await self._settle(are_ended)
            return "deleted"

        await self._operate(Operation("delete", label, 0.0), act)

    async def _settle(self, is_settled: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a holder to let go, as the API does: 503 when it takes too long."""
        give_up_at = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while not await is_settled():
            if asyncio.get_running_loop().time() > give_up_at:
                raise DatabaseUnavailableError("not settled yet")
            await asyncio.sleep(_SETTLE_EVERY_SECONDS)

    def _new_job(self, label: str, schedule: Schedule, *, hold: bool) -> NewJob:
        body = {
            "job_url": TARGET_URL, "job_payload": {"label": label}, "timeout_seconds": 3, "max_attempts": 3,
            "name": label, "delivery": Delivery.AT_MOST_ONCE if hold else Delivery.AT_LEAST_ONCE,
        }  # fmt: skip
        if self._random.random() < 0.3:
            body["callback"] = {"deadline_seconds": 3.0} | self._random.choice(({}, {"heartbeat_seconds": 1.5}))
        if schedule.cron is not None:
            body["schedule_recurring"] = schedule.cron
        else:
            body["schedule_oneoff"] = ids.instant_of(schedule.at_ms or 0).isoformat()
        created_at = ids.instant_of(ids.milliseconds_of(self._server.now))
        job_id = ids.job_id(created_at, self._random.randbytes(10))
        definition = define(body, job_id, now=created_at, target_refusal=lambda _: None)
        job = jobs.prepare(definition, self._tenant_id, created_at)
        return job._replace(key=label, fingerprint=bytes(32), answer="{}")

    def _now(self) -> float:
        return self._server.now.timestamp()
