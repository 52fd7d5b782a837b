"""The schema: numbered SQL files, applied in order, forward only.

A migration is one transaction, and a lock on `schema_migrations` makes two migrators take turns. Statements are
written so that the release before still runs on the new schema (expand, then contract a release later).
"""

import contextlib
from dataclasses import dataclass
from importlib import resources

import psycopg

from countwheel.store.database import Connection

_LEDGER = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version    integer PRIMARY KEY,
        name       text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step. `name` is its file name without the ending."""

    version: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What the database has and what this release knows, as version numbers in order."""

    applied: tuple[int, ...]
    known: tuple[int, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Versions that this release needs and the database does not have yet."""
        return tuple(sorted(set(self.known) - set(self.applied)))

    @property
    def is_current(self) -> bool:
        """Whether this release can run: everything that it knows is applied (a newer schema is fine)."""
        return not self.missing


def known_migrations() -> list[Migration]:
    """Return the migrations of this release, in order."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [
        Migration(int(file.name.split("_", 1)[0]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in files
    ]


async def read_status(connection: Connection) -> SchemaStatus:
    """Return which migrations the database has. Changes nothing."""
    known = tuple(migration.version for migration in known_migrations())
    try:
        cursor = await connection.execute("SELECT version FROM schema_migrations ORDER BY version")
    except psycopg.errors.UndefinedTable:
        return SchemaStatus((), known)
    return SchemaStatus(tuple([row[0] async for row in cursor]), known)


async def apply_migrations(connection: Connection) -> list[Migration]:
    """Apply what is missing, in order, all or nothing, and return it. Safe to run on several nodes at once."""
    # IF NOT EXISTS does not settle a race: of two that create the table at once one is refused, and finds it made.
    refusals = psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject
    with contextlib.suppress(*refusals):
        await connection.execute(_LEDGER)
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE")
        missing = set((await read_status(connection)).missing)
        applied = [migration for migration in known_migrations() if migration.version in missing]
        for migration in applied:
            await connection.execute(migration.sql.encode())
            await connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES (%s, %s)",
                (migration.version, migration.name),
            )
    return applied
