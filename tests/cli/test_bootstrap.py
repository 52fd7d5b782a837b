"""The first admin: `serve` says how to make one, `admin bootstrap` makes it, and nothing comes with a password."""

import asyncio
import base64
import re
import signal
import sys

import aiohttp
import pytest

from countwheel.auth import bootstrap
from countwheel.auth.principal import ALL_SCOPES
from countwheel.clock import SystemChance, SystemClock
from countwheel.store import clients
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer
from harness import SECRET_KEY, Ended, clean_environment, free_port, run_command, running_node

HINT = "make the first admin with `countwheel admin bootstrap`"


def settings(dsn: str) -> dict[str, str]:
    return {
        "COUNTWHEEL_DATABASE_URL": dsn,
        "COUNTWHEEL_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
        "COUNTWHEEL_PORT": str(free_port()),
    }


def made(ended: Ended) -> tuple[str, str]:
    """Return the id and the secret that were printed."""
    assert ended.code == 0, ended.errors
    found = re.fullmatch(r"client_id=(cwc_\S+)\nclient_secret=(cws_\S+)\n", ended.output)
    assert found is not None, ended.output
    return found[1], found[2]


async def test_the_first_admin_is_made_from_nothing(empty_dsn: str) -> None:
    """On an empty database: migrate, bootstrap, and the printed credentials get a token with every scope."""
    given = settings(empty_dsn)
    behind = await run_command("admin", "bootstrap", **given)
    assert (behind.code, "run `countwheel db migrate` first" in behind.errors) == (1, True)
    assert (await run_command("db", "migrate", **given)).code == 0
    ended = await run_command("admin", "bootstrap", **given)
    client_id, secret = made(ended)
    assert secret not in ended.errors
    assert "shown this once" in ended.errors
    async with running_node(empty_dsn) as node, aiohttp.ClientSession() as session:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        async with session.post(f"{node.url}/oauth/token", data=form) as response:
            assert set((await response.json())["scope"].split()) == ALL_SCOPES


async def test_a_second_admin_is_made_on_purpose_alone(dsn: str) -> None:
    """Refused while there is one, with a word about --force; with it, another one beside the first."""
    first = made(await run_command("admin", "bootstrap", **settings(dsn)))
    refused = await run_command("admin", "bootstrap", **settings(dsn))
    assert (refused.code, refused.output) == (1, "")
    assert "there is an admin already; with --force another one is made beside it" in refused.errors
    second = made(await run_command("admin", "bootstrap", "--force", **settings(dsn)))
    assert not {*first} & {*second}


async def test_of_two_who_bootstrap_at_once_one_is_refused(database: Database) -> None:
    """Ten at the same time make one admin."""
    sealer, chance = Sealer(SECRET_KEY, SystemChance()), SystemChance()
    results = await asyncio.gather(
        *(bootstrap.create_admin(database, sealer, chance, SystemClock().now()) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, tuple) for result in results) == 1
    assert sum(isinstance(result, bootstrap.AdminExistsError) for result in results) == 9


async def test_a_client_without_the_right_is_no_admin(database: Database) -> None:
    """Only a client with the scope `admin` keeps others from being the first."""
    await bootstrap.create_client(database, SystemChance(), name="x", scopes=frozenset({"jobs:read"}))
    async with database.connection() as connection:
        assert not await clients.has_admin(connection)
    await bootstrap.create_client(database, SystemChance(), name="y", scopes=frozenset({"admin"}))
    async with database.connection() as connection:
        assert await clients.has_admin(connection)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"COUNTWHEEL_SECRET_KEY": base64.b64encode(bytes(32)).decode()}, "SECRET_KEY"),
        ({"COUNTWHEEL_SECRET_KEY": ""}, "neither COUNTWHEEL_SECRET_KEY nor COUNTWHEEL_SECRET_KEY_FILE is set"),
        ({"COUNTWHEEL_DATABASE_URL": ""}, "COUNTWHEEL_DATABASE_URL is not set"),
    ],
    ids=["another key", "no key", "no database"],
)
async def test_bootstrap_needs_what_serve_needs(dsn: str, changes: dict[str, str], said: str) -> None:
    """The deployment's own database and key, or an error that says what to set; nothing is made."""
    given = {name: value for name, value in (settings(dsn) | changes).items() if value}
    ended = await run_command("admin", "bootstrap", **given)
    assert (ended.code, ended.output, said in ended.errors) == (1, "", True), ended.errors


async def serve_until_it_serves(dsn: str, *arguments: str, workers: int = 1) -> str:
    """Run `countwheel serve` until each node says that it serves, and return what it said till its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "countwheel", "serve", *arguments),
        env=clean_environment() | settings(dsn),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(60):
            while said.count(b"roles=") < workers:
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = await process.communicate()
    return (said + rest).decode()


@pytest.mark.parametrize(("arguments", "workers"), [((), 1), (("--workers", "2"), 2)], ids=["one", "two workers"])
async def test_serve_says_once_how_to_make_the_first_admin(dsn: str, arguments: tuple[str, ...], workers: int) -> None:
    """Once a start, however many workers; not any more when there is an admin; never a password."""
    said = await serve_until_it_serves(dsn, *arguments, workers=workers)
    assert said.count(HINT) == 1
    assert "cws_" not in said
    made(await run_command("admin", "bootstrap", **settings(dsn)))
    assert HINT not in await serve_until_it_serves(dsn, *arguments, workers=workers)
