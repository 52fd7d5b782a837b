"""Writes for many requests at once: what arrives while a statement is under way goes in the next one.

One durable commit then serves every request that waited for it. A lone request waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from countwheel.store.database import Connection, Database, RefusedRowError

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")

_MAX_BATCH = 256
_WRITERS = 2
"""Statements under way at once: the next batch gathers and is prepared while one waits for the disk."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[_Row, _Result]):
    row: _Row
    result: asyncio.Future[_Result]


class GroupCommit(Generic[_Row, _Result]):
    """Hands rows to `write` in batches, and its results, one a row, back to whoever gave the row."""

    def __init__(
        self, database: Database, write: Callable[[Connection, Sequence[_Row]], Awaitable[Sequence[_Result]]]
    ) -> None:
        self._database = database
        self._write_batch = write
        self._waiting: list[_Waiting[_Row, _Result]] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def write(self, row: _Row) -> _Result:
        """Return what came of a row when it is durable.

        Raises `DatabaseUnavailableError` (it may have been written or not) and `RefusedRowError`.
        """
        result: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(row, result))
        if len(self._writers) < _WRITERS:
            writer = asyncio.create_task(self._write_all())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await result

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
            await self._write(batch)

    async def _write(self, batch: list[_Waiting[_Row, _Result]]) -> None:
        try:
            async with self._database.connection() as connection:
                results = await self._write_batch(connection, [entry.row for entry in batch])
        except RefusedRowError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for entry in batch:  # each row keeps its own fate
                await self._write([entry])
        except Exception as error:  # noqa: BLE001 (handed on to every request that waits)
            _fail(batch, error)
        else:
            for entry, result in zip(batch, results, strict=True):
                if not entry.result.done():  # its request may have been cancelled
                    entry.result.set_result(result)


def _fail(batch: list[_Waiting[_Row, _Result]], error: Exception) -> None:
    for entry in batch:
        if not entry.result.done():
            entry.result.set_exception(error)
