"""E12: the contract against the running server, judged by schemathesis."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from countwheel.api.contract import load_contract
from harness import dev_server, run_command

HERE = Path(__file__).parent
METHODS = {"get", "put", "post", "patch", "delete"}

EXCLUDED = {
    "use_after_free": "it wants 404 after a DELETE, and every delete here is soft by contract: what was deleted can be "
    "read, and deleting it again gives the same answer",
}
"""Checks of schemathesis that are left out, each with its reason. Every other default check is on."""


_LOG_SHOWN = 4000
"""How many characters of the server's log, and of PostgreSQL's, are shown of a run that failed."""

_JOBS = r"/v1/jobs(/\{jobId\})?$"


@pytest.mark.long
@pytest.mark.timeout(600)  # a slow machine needs 90 s alone, and the simulator is beside it
@pytest.mark.parametrize(
    ("phases", "paths"),
    [
        # Half of all that can be wrong with a body can be wrong with that of a job: parts that take about as long.
        pytest.param("examples,coverage", f"^{_JOBS}", id="jobs, case by case"),
        pytest.param("examples,coverage", f"^(?!{_JOBS})", id="all others, case by case"),
        pytest.param("fuzzing,stateful", "^/", id="all, at random and in sequence"),
    ],
)
async def test_schemathesis_finds_nothing(phases: str, paths: str, tmp_path: Path) -> None:
    """Examples, coverage, fuzzing and stateful phases pass with every default check but those of EXCLUDED."""
    async with dev_server(tmp_path / "data") as server:
        token = (await run_command("token", COUNTWHEEL_DATA_DIR=str(server.data_dir))).output.strip()
        code, said = await _judge(server.url, token, tmp_path, phases, paths)
    logs = (server.output, (server.data_dir / "postgres.log").read_bytes())
    assert code == 0, "\n".join([said, *(log.decode()[-_LOG_SHOWN:] for log in logs)])
    methods = [
        METHODS & item.keys() for path, item in load_contract().document["paths"].items() if re.match(paths, path)
    ]
    assert f"Tested: {sum(map(len, methods))}" in said, said
    assert "Skipped:" not in said, said


async def _judge(url: str, token: str, folder: Path, phases: str, paths: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--exclude-checks", ",".join(EXCLUDED)),
        *("--phases", phases, "--include-path-regex", paths),
        # Fields that only a recurring job has make most one-off jobs drawn at random invalid: they are drawn again.
        *("--suppress-health-check", "filter_too_much,too_slow"),  # how fast this machine is, is not asked
        *("--max-examples", "40", "--generation-deterministic", "--no-color"),
        env=os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()
