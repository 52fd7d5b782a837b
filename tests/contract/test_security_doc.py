"""What the security document names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there() -> None:
    """A line whose test has gone is a claim."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", DOCUMENT))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_each_line_of_the_owasp_walk_has_a_test() -> None:
    """Ten lines, each with at least one."""
    lines = re.findall(r"^\| (API\d+) .*\|([^|]+)\|$", DOCUMENT, re.MULTILINE)
    assert [name for name, _ in lines] == [f"API{number}" for number in range(1, 11)]
    assert [name for name, tests in lines if "`tests/" not in tests] == []


def test_every_link_leads_somewhere() -> None:
    """Files beside it."""
    targets = re.findall(r"\]\(([\w./-]+\.md)", DOCUMENT)
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
