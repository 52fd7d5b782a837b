"""What is said of peers is what is measured."""

import json

import pytest

from benchmarks.peers import install
from benchmarks.peers.peer import PEERS
from benchmarks.peers.row import CEILING, OURS, compared
from benchmarks.report import PAGE

PEERS_PAGE = PAGE.with_name("benchmarks-peers.md")


def pinned():
    """Return the versions that are installed, by package."""
    described = json.loads((install.NODE_HARNESSES / "package.json").read_text())
    lines = (install.NODE_HARNESSES.parent / "python" / "requirements.txt").read_text().split()
    names = (line.split("==") for line in lines)
    return {**described["dependencies"], **{name.partition("[")[0]: version for name, version in names}}


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_document_names_the_version_that_is_installed(peer):
    """Each row of the page's table has the version that the lock files pin."""
    version = pinned()[peer.package]
    rows = [line for line in PEERS_PAGE.read_text().splitlines() if line.startswith(f"| `{peer.name}` | {version}")]
    assert len(rows) == 1


def test_lock_file_has_the_versions_of_the_package_file():
    """`npm ci` installs what package.json says."""
    described = json.loads((install.NODE_HARNESSES / "package.json").read_text())
    locked = json.loads((install.NODE_HARNESSES / "package-lock.json").read_text())["packages"]
    for name, version in described["dependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version


def test_ours_is_held_against_the_best_of_the_same_round():
    """A round that was slow for all of them is no round in which we were worse."""
    rounds = {
        OURS: [{"durable_per_second": 30.0}, {"durable_per_second": 12.0}],
        "one": [{"durable_per_second": 10.0}, {"durable_per_second": 8.0}],
        "two": [{"durable_per_second": 20.0}, {"durable_per_second": 4.0}],
        CEILING: [{"durable_per_second": 60.0}, {"durable_per_second": 48.0}],
    }
    found = compared(rounds, ["one", "two"], "durable_per_second")
    assert [(each["times_best_peer"], each["of_ceiling"]) for each in found] == [(1.5, 0.5), (1.5, 0.25)]
