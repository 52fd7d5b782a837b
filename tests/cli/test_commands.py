"""The commands, as a person runs them."""

import asyncio
import base64
import json
import os
import re
import shlex
import signal
import stat
import sys
from pathlib import Path

import aiohttp
import pytest

from countwheel import __version__
from countwheel.embedded.supervisor import EmbeddedPostgres
from harness import (
    START_SECONDS,
    DevServer,
    clean_environment,
    descendants,
    dev_server,
    eventually,
    free_port,
    is_running,
    run_command,
)

KEY = base64.b64encode(bytes(32)).decode()


async def test_help_and_version() -> None:
    """Every command is listed, and the version is the package's."""
    shown = await run_command("--help")
    assert shown.code == 0
    for command in ("dev", "serve", "token", "db"):
        assert command in shown.output
    assert (await run_command("--version")).output.strip() == __version__


async def test_cron_says_what_an_expression_means_and_when_it_fires() -> None:
    """`cron explain` and `cron next` need no server; what means nothing is refused with exit code 2."""
    explained = await run_command("cron", "explain", "*/7 9 * * *", "--timezone", "Europe/Berlin")
    assert explained.output == "every 7 minutes of hour 9, every day, by the clock of Europe/Berlin\n"
    assert "warning: minute */7 starts anew at 0" in explained.errors
    shown = await run_command(
        *("cron", "next", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28T12:00:00Z"),
        *("--count", "2"),
        TZ="Asia/Kolkata",
    )
    assert shown.output.splitlines() == [
        "Sun 2026-03-29 03:00:00+02:00  Sun 2026-03-29 06:30:00+05:30  2026-03-29T01:00:00Z  shifted",
        "Mon 2026-03-30 02:30:00+02:00  Mon 2026-03-30 06:00:00+05:30  2026-03-30T00:30:00Z",
    ]
    asked = await run_command("cron", "next", "@daily", "--count", "1", "--display-timezone", "America/New_York")
    assert asked.output.split()[5] in {"19:00:00-05:00", "20:00:00-04:00"}
    nowhere = await run_command("cron", "next", "@daily", "--display-timezone", "Mars/Olympus")
    assert (nowhere.code, "not an IANA time zone" in nowhere.errors) == (2, True)
    assert "clock change 2026-03-29T01:00:00Z: 2026-03-29 02:30:00 does not exist" in shown.errors
    refused = await run_command("cron", "explain", "61 * * * *")
    assert (refused.code, refused.output) == (2, "")
    assert "bad minute '61' at position 1" in refused.errors


async def test_dev_serves_and_its_curl_line_works(tmp_path: Path) -> None:
    """The printed line, pasted into a shell, creates a job that the echo receives within its second."""
    async with dev_server(tmp_path / "data") as server:
        printed = server.output.decode()
        assert server.url in printed
        (line,) = (line for line in printed.splitlines() if line.startswith("curl") and "/v1/jobs" in line)
        environment = clean_environment() | {"PATH": _path_with_curl(tmp_path / "bin")}
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, env=environment, stdout=asyncio.subprocess.PIPE
        )
        job = json.loads((await process.communicate())[0])
        assert job["next_run"]["status"] == "SCHEDULED"

        async def has_arrived():
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/dev/echo") as response:
                return (await response.json())["items"]

        (call,) = await eventually(has_arrived)
        assert call["headers"]["webhook-id"] == job["next_run"]["run_id"]
        assert json.loads(call["body"]) == {"hello": "world"}
        assert call["received_at"][:19] == job["next_run"]["scheduled_for"][:19]
        credentials = tmp_path / "data" / "client.json"
        assert stat.S_IMODE(credentials.stat().st_mode) == 0o600


def _path_with_curl(folder: Path) -> str:
    """Return the PATH, with a stand-in at its end for a machine that has no curl."""
    folder.mkdir()
    stand_in = folder / "curl"
    program = Path(__file__).parent / "stand_in_for_curl.py"
    stand_in.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(program))} "$@"\n')
    stand_in.chmod(0o755)
    return f"{os.environ['PATH']}:{folder}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_dev_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C: exit code 0, no process left, no error in the log."""
    server = DevServer(tmp_path)
    await server.start()
    assert server.process is not None
    started = descendants(server.process.pid)
    assert await server.stop(number) == 0
    assert len(started) > 5, "PostgreSQL and its children"
    assert [pid for pid in started if is_running(pid)] == []
    assert b"Traceback" not in server.output
    assert b"[error" not in server.output


async def test_a_second_dev_on_one_directory_is_told(tmp_path: Path) -> None:
    """It names the first one's process, says what to do, and ends; the first one goes on."""
    async with dev_server(tmp_path) as server:
        assert server.process is not None
        second = await run_command("dev", COUNTWHEEL_DATA_DIR=str(tmp_path), COUNTWHEEL_PORT=str(free_port()))
        assert second.code == 1
        assert f"another countwheel (process {server.process.pid}) is running" in second.errors
        assert "Traceback" not in second.errors
        taken = await run_command("dev", COUNTWHEEL_DATA_DIR=str(tmp_path / "x"), COUNTWHEEL_PORT=str(server.port))
        assert taken.code == 1
        assert "COUNTWHEEL_PORT" in taken.errors
        assert (await asyncio.to_thread(server.client().call, "GET", "/v1/jobs"))["items"] == []


async def test_dev_keeps_everything_between_starts(tmp_path: Path) -> None:
    """Jobs, credentials and tokens outlive a stop; a lost database gets a new client by itself."""
    server = DevServer(tmp_path)
    await server.start()
    token = (await run_command("token", COUNTWHEEL_DATA_DIR=str(tmp_path))).output.strip()
    job = await asyncio.to_thread(
        server.client().create_job, {"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}
    )
    await server.stop()
    await server.start()
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{server.url}/v1/jobs") as response:
        assert [entry["job_id"] for entry in (await response.json())["items"]] == [job["job_id"]]
    await server.stop()
    (tmp_path / "postgres").rename(tmp_path / "postgres.gone")
    await server.start()
    assert (await asyncio.to_thread(server.client().call, "GET", "/v1/jobs"))["items"] == []
    await server.stop()


async def test_token_prints_a_token_and_nothing_else(tmp_path: Path) -> None:
    """One line on standard output; with --scope no more than was asked for; what goes wrong is said on the other."""
    missing = await run_command("token", COUNTWHEEL_DATA_DIR=str(tmp_path))
    assert (missing.code, missing.output) == (1, "")
    assert "countwheel dev" in missing.errors
    async with dev_server(tmp_path):
        shown = await run_command("token", "--scope", "jobs:read runs:read", COUNTWHEEL_DATA_DIR=str(tmp_path))
        assert (shown.code, shown.errors) == (0, "")
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", shown.output)
        claims = json.loads(base64.urlsafe_b64decode(shown.output.split(".")[1] + "=="))
        assert claims["scope"] == "jobs:read runs:read"
        refused = await run_command("token", "--scope", "everything", COUNTWHEEL_DATA_DIR=str(tmp_path))
        assert (refused.code, refused.output) == (1, "")
    stopped = await run_command("token", COUNTWHEEL_DATA_DIR=str(tmp_path))
    assert (stopped.code, stopped.output) == (1, "")
    assert "Traceback" not in stopped.errors


async def test_the_demo_calls_by_itself(tmp_path: Path) -> None:
    """--demo: without any client a call arrives at the echo."""
    async with dev_server(tmp_path, "--demo") as server, aiohttp.ClientSession() as session:

        async def has_arrived():
            async with session.get(f"{server.url}/dev/echo") as response:
                return (await response.json())["items"]

        (call, *_) = await eventually(has_arrived, 30)
        assert "demo" in json.loads(call["body"])


async def test_serve_wants_a_current_schema(empty_dsn: str) -> None:
    """On an older schema it refuses and says the command; the command mends it; then it serves and stops in order."""
    database = {"COUNTWHEEL_DATABASE_URL": empty_dsn}
    environment = database | {"COUNTWHEEL_SECRET_KEY": KEY, "COUNTWHEEL_PORT": str(free_port())}
    refused = await run_command("serve", **environment)
    assert refused.code == 1
    assert "countwheel db migrate" in refused.errors
    before = await run_command("db", "status", **database)
    assert before.code == 1
    assert "missing  0001_first_strike" in before.output
    assert "applied 0001_first_strike" in (await run_command("db", "migrate", **database)).output
    assert "up to date" in (await run_command("db", "migrate", **database)).output
    after = await run_command("db", "status", **database)
    assert (after.code, after.output.splitlines()[0]) == (0, "applied  0001_first_strike")
    await serve_and_stop(environment)
    wrong_key = base64.b64encode(bytes([1] * 32)).decode()
    refused = await run_command("serve", **environment | {"COUNTWHEEL_SECRET_KEY": wrong_key})
    assert refused.code == 1
    assert "COUNTWHEEL_SECRET_KEY" in refused.errors
    assert "Traceback" not in refused.errors


async def serve_and_stop(environment: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{environment['COUNTWHEEL_PORT']}"
    serving = asyncio.create_task(run_command("serve", **environment))
    async with aiohttp.ClientSession() as session:

        async def is_ready() -> bool:
            try:
                async with session.get(f"{url}/readyz") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(is_ready, START_SECONDS)
        async with session.get(f"{url}/dev/echo") as response:
            assert response.status == 404, "a production node has no echo"
    (pid,) = descendants(os.getpid()) & pids_listening(int(environment["COUNTWHEEL_PORT"]))
    os.kill(pid, signal.SIGTERM)
    assert (await serving).code == 0


def pids_listening(port: int) -> set[int]:
    """Return the processes that hold a listening socket on this port of IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and any(
                str(file.readlink()) in sockets for file in (entry / "fd").iterdir() if file.is_symlink()
            ):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["serve"], {}, "COUNTWHEEL_DATABASE_URL is not set"),
        (["serve"], {"COUNTWHEEL_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "neither COUNTWHEEL_SECRET_KEY nor"),
        (["serve"], {"COUNTWHEEL_SECRET_KEY": "short"}, "COUNTWHEEL_SECRET_KEY"),
        (["db", "status"], {}, "COUNTWHEEL_DATABASE_URL is not set"),
        (["db", "migrate"], {"COUNTWHEEL_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "PostgreSQL"),
        (["dev"], {"COUNTWHEEL_PORT": "http"}, "COUNTWHEEL_PORT: 'http' is not a whole number"),
        (["dev"], {"COUNTWHEEL_PORT": "70000"}, "from 1 to 65535"),
        (["dev"], {"COUNTWHEEL_ALLOWED_NETWORKS": "10.0.0.1/8"}, "COUNTWHEEL_ALLOWED_NETWORKS"),
        (["dev"], {"COUNTWHEEL_ALLOW_HTTP_TARGETS": "maybe"}, "neither true nor false"),
        (["dev"], {"COUNTWHEEL_LOG_LEVEL": "loud"}, "debug, info, warning, error"),
        (["dev"], {"COUNTWHEEL_LEASE_SECONDS": "nan"}, "COUNTWHEEL_LEASE_SECONDS"),
        (["dev"], {"COUNTWHEEL_CONFIG": "/nowhere.toml"}, "COUNTWHEEL_CONFIG"),
        (["dev"], {"COUNTWHEEL_PG_BIN": "/nowhere"}, "COUNTWHEEL_PG_BIN"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], named: str
) -> None:
    """Exit code 1, one line that says which setting and what would be right, no trace."""
    ended = await run_command(
        *arguments, **{"COUNTWHEEL_DATA_DIR": str(tmp_path), "COUNTWHEEL_PORT": str(free_port())} | environment
    )
    assert ended.code == 1
    assert named in ended.errors
    assert "Traceback" not in ended.errors


async def test_a_mistyped_setting_is_not_silent(empty_dsn: str) -> None:
    """An unknown COUNTWHEEL_ name is warned of."""
    ended = await run_command("db", "status", COUNTWHEEL_DATABASE_URL=empty_dsn, COUNTWHEEL_RETENTON_DAYS="3")
    assert "COUNTWHEEL_RETENTON_DAYS" in ended.errors


async def test_settings_may_stand_in_a_file(tmp_path: Path, cluster: EmbeddedPostgres, empty_dsn: str) -> None:
    """COUNTWHEEL_CONFIG names a TOML file; the environment wins over it."""
    del cluster
    file = tmp_path / "countwheel.toml"
    file.write_text(f"database_url = {json.dumps(empty_dsn)}\n")
    assert "missing" in (await run_command("db", "status", COUNTWHEEL_CONFIG=str(file))).output
    unreachable = "postgresql://127.0.0.1:1/x"
    ended = await run_command("db", "status", COUNTWHEEL_CONFIG=str(file), COUNTWHEEL_DATABASE_URL=unreachable)
    assert ended.code == 1
