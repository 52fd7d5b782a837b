"""W5, W6: where calls may go by the operator's lists, and that a server is no target of its own."""

from ipaddress import ip_network

import pytest

from countwheel.config import SettingError, read_settings
from harness import LOOPBACK, Node, running_node, soon


def faults_of(answer) -> dict[str, str]:
    return {error["pointer"]: error["detail"] for error in answer.json["errors"]}


async def test_denied_hosts_and_networks_are_refused_wherever_a_job_names_a_target(dsn: str) -> None:
    """400 at the create, with a pointer to each of them; a denied network wins over an allowed one."""
    lists = {"denied_hosts": ("*.example.com",), "denied_networks": LOOPBACK[:1]}
    async with running_node(dsn, **lists) as node:
        body = {
            "schedule_oneoff": soon(60),
            "job_url": "http://api.example.com/",
            "cancel_url": "http://127.1/",
            "on_failure": "http://0x7f000001/",
            "on_success": "http://elsewhere.test/",
        }
        found = faults_of(await node.api.call("POST", "/v1/jobs", body))
    assert found.keys() == {"#/job_url", "#/cancel_url", "#/on_failure"}
    assert "COUNTWHEEL_DENIED_HOSTS" in found["#/job_url"]
    assert "COUNTWHEEL_DENIED_NETWORKS" in found["#/on_failure"]


async def test_a_list_of_allowed_hosts_means_these_only(dsn: str) -> None:
    """What it does not name is refused, and the reason names the list."""
    async with running_node(dsn, allowed_hosts=("hooks.test",)) as node:
        refused = await node.api.call(
            "POST", "/v1/jobs", {"schedule_oneoff": soon(60), "job_url": "http://other.test/"}
        )
        assert "COUNTWHEEL_ALLOWED_HOSTS" in faults_of(refused)["#/job_url"]
        await node.api.create(schedule_oneoff=soon(60), job_url="http://hooks.test/")


async def test_w6_a_server_is_no_target_of_its_own(node: Node) -> None:
    """By its address at the create, and by a name that leads to it at the attempt: FAILED, blocked."""
    port = node.url.rsplit(":", 1)[1]
    refused = await node.api.call("POST", "/v1/jobs", {"schedule_oneoff": soon(60), "job_url": f"{node.url}/livez"})
    assert "itself listens there" in faults_of(refused)["#/job_url"]
    job = await node.api.create(schedule_oneoff=soon(0), job_url=f"http://localhost:{port}/livez")
    ended = await node.api.run_when(job, "FAILED")
    assert ended["error"].startswith("blocked: ")
    assert "itself listens there" in ended["error"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DENIED_NETWORKS", "10.0.0.0/33"),
        ("ALLOWED_HOSTS", "*.*.example.com"),
        ("ALLOWED_HOSTS", "https://example.com"),
        ("DENIED_HOSTS", "exa mple.com"),
    ],
)
def test_a_list_that_means_nothing_is_named(name: str, text: str) -> None:
    """The error says which variable it is."""
    with pytest.raises(SettingError, match=f"COUNTWHEEL_{name}"):
        read_settings({f"COUNTWHEEL_{name}": text}, development=False)


def test_lists_are_read() -> None:
    """Commas between, blanks and upper case do not matter, nor how an address is written."""
    given = {
        "COUNTWHEEL_ALLOWED_HOSTS": " Hooks.Test, *.example.com ,",
        "COUNTWHEEL_DENIED_HOSTS": "::FFFF:8.8.8.8,[2001:DB8:0::1]",
        "COUNTWHEEL_DENIED_NETWORKS": "10.0.0.0/8, 2001:db8::/32",
    }
    settings = read_settings(given, development=False)
    assert settings.allowed_hosts == ("hooks.test", "*.example.com")
    assert settings.denied_hosts == ("8.8.8.8", "2001:db8::1")
    assert settings.denied_networks == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
