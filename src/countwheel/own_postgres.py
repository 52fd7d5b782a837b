"""The PostgreSQL that `countwheel dev` brings along."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from countwheel.clock import SystemClock
from countwheel.config import Settings
from countwheel.embedded.supervisor import EmbeddedPostgres


@asynccontextmanager
async def own_postgres(settings: Settings, data_dir: Path) -> AsyncIterator[str]:
    """Run the embedded PostgreSQL, restarted if it dies, and stop it last of all."""
    postgres = EmbeddedPostgres(
        data_dir,
        SystemClock(),
        bin_override=settings.pg_bin,
        progress=lambda line: print(line, file=sys.stderr),  # noqa: T201 (progress on the terminal)
    )
    try:
        dsn = await postgres.start()
        supervisor = asyncio.create_task(postgres.supervise())
        try:
            yield dsn
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
    finally:
        await postgres.stop()
