"""What about the database can lose what was acknowledged, or slow it down: said before it happens."""

from dataclasses import dataclass

from countwheel.store.database import Connection
from countwheel.store.queries import query

_OLD_TRANSACTION_SECONDS = 300.0
_SAFE_COMMITS = frozenset({"on", "remote_write", "remote_apply", "local"})


@dataclass(frozen=True, slots=True)
class DatabaseWarning:
    """Something that an operator should mend. `code` is stable, `detail` says what to do."""

    code: str
    detail: str


async def find_warnings(connection: Connection) -> list[DatabaseWarning]:
    """Return what is unsafe or unhealthy about the database's settings and sessions, worst first."""
    cursor = await connection.execute(query("durability_settings"))
    settings: dict[str, str] = {row[0]: row[1] async for row in cursor}
    standbys = await (await connection.execute(query("standbys"))).fetchall()
    row = await (await connection.execute(query("oldest_transaction"))).fetchone()
    oldest_seconds = float(row[0]) if row else 0.0
    return [
        *_of_settings(settings),
        *_of_standbys(settings, [(name, state) for name, state in standbys]),
        *_of_transactions(oldest_seconds),
    ]


def _of_settings(settings: dict[str, str]) -> list[DatabaseWarning]:
    found = [
        DatabaseWarning(
            name.replace("_", "-") + "-off",
            f"{name} is off: a crash of the database's machine can lose or damage what was acknowledged; set it to on",
        )
        for name in ("fsync", "full_page_writes")
        if settings.get(name) == "off"
    ]
    if settings.get("synchronous_commit") not in _SAFE_COMMITS:
        found.append(
            DatabaseWarning(
                "synchronous-commit-off",
                "synchronous_commit is off: a crash loses jobs that were acknowledged and sends runs again that were "
                "recorded; set it to on",
            )
        )
    return found


def _of_standbys(settings: dict[str, str], standbys: list[tuple[str, str | None]]) -> list[DatabaseWarning]:
    if not standbys:
        return []
    waits = bool(settings.get("synchronous_standby_names")) and settings.get("synchronous_commit") != "local"
    if not waits:
        return [
            DatabaseWarning(
                "asynchronous-standby",
                f"{len(standbys)} standby(s) replicate asynchronously: if one is promoted, the last commits are lost "
                "and runs are sent twice; set synchronous_standby_names (Patroni: synchronous_mode)",
            )
        ]
    asynchronous = [name for name, state in standbys if state == "async"]
    if asynchronous:
        return [
            DatabaseWarning(
                "asynchronous-standby",
                f"standby {', '.join(asynchronous)} replicates asynchronously beside a synchronous one: never promote "
                "it (Patroni's synchronous_mode sees to that)",
            )
        ]
    return []


def _of_transactions(oldest_seconds: float) -> list[DatabaseWarning]:
    if oldest_seconds <= _OLD_TRANSACTION_SECONDS:
        return []
    return [
        DatabaseWarning(
            "old-transaction",
            f"a transaction has been open for {oldest_seconds:.0f} s: dead rows pile up and every claim gets slower; "
            "end it (pg_stat_activity shows whose it is)",
        )
    ]
