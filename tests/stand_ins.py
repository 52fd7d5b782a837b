"""Stand where a part is wanted and nothing is asked of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoDatabase:
    """Stands where nothing is asked of a database: lends a connection that nobody uses."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield None

    transaction = connection
