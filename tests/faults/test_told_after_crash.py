"""kill -9 between the end of a run and its notification: none is lost, and none is doubled."""

import asyncio
import json
from pathlib import Path

import pytest

from countwheel.testing import Reply, WebhookReceiver
from harness import DevServer, eventually, soon


@pytest.mark.parametrize("moment", ["within", "after"])
async def test_scenario_crash_between_an_end_and_its_notification(
    tmp_path: Path, receiver: WebhookReceiver, moment: str
) -> None:
    """Killed within the transaction, both are done again; killed after its commit, the notification is there."""
    receiver.answer_with(lambda call: Reply() if "told" in call.path else Reply(400))
    flag = tmp_path / "crash"
    flag.write_text(moment)
    server = DevServer(tmp_path / "data", module="crash_at_the_end", CRASH_FLAG=str(flag))
    await server.start()
    try:
        body = {"schedule_oneoff": soon(1), "job_url": receiver.url, "on_failure": receiver.url + "/told"}
        job = await asyncio.to_thread(server.client().create_job, body)

        async def has_crashed() -> bool:
            return not flag.exists()

        await eventually(has_crashed)
        await server.kill()
        await server.start()
        client = server.client()

        async def all_ended() -> list[dict[str, str]]:
            listed = await asyncio.to_thread(client.call, "GET", f"/v1/jobs/{job['job_id']}/run/")
            is_over = len(listed["items"]) > 1 and all(run["finished_at"] for run in listed["items"])
            return listed["items"] if is_over else []

        runs = await eventually(all_ended)
        assert [(run["trigger"], run["status"]) for run in runs] == [
            ("notification", "SUCCEEDED"),
            ("schedule", "FAILED"),
        ]
        told = [call for call in receiver.calls if "told" in call.path]
        assert {call.run_id for call in told} == {runs[0]["run_id"]}
        assert json.loads(told[0].body)["data"]["run_id"] == runs[1]["run_id"]
    finally:
        await server.stop()
