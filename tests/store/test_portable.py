"""What of PostgreSQL is used: nothing that a pooler of transactions, or a distributed PostgreSQL, has not."""

import re
from pathlib import Path

import pytest

import countwheel
from countwheel.store.migrate import known_migrations
from countwheel.store.queries import _blocks, query

SOURCE = Path(countwheel.__file__).parent
STATEMENTS = {f"migration {step.version}": step.sql for step in known_migrations()} | {
    name: query(name, **dict.fromkeys(re.findall(r"{{(size|most)}}", text), 1)) for name, text in _blocks().items()
}


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("LISTEN, NOTIFY", r"\b(UN)?LISTEN\b|\bNOTIFY\b|pg_notify"),
        ("advisory locks", r"pg_(try_)?advisory"),
        ("sequences", r"\b(small|big)?serial\b|\bGENERATED\b|nextval|\bSEQUENCE\b"),
        ("temporary tables, held cursors", r"\bTEMP(ORARY)?\b|WITH HOLD"),
        ("settings of a session", r"^\s*SET\s+(?!LOCAL)|set_config"),
        ("extensions", r"\bEXTENSION\b"),
    ],
)
def test_no_statement_uses(what: str, pattern: str) -> None:
    """Not in a query, not in a migration."""
    found = [name for name, text in STATEMENTS.items() if re.search(pattern, without_comments(text), re.IGNORECASE)]
    assert found == [], what


def test_no_code_listens_or_takes_an_advisory_lock() -> None:
    """Nor does code, in statements of its own or by the driver."""
    pattern = re.compile(r"advisory_|nextval|\.notifies\(|add_notify_handler|[\"'](LISTEN|NOTIFY) |pg_notify")
    assert [path for path in SOURCE.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_a_run_is_led_by_its_bucket() -> None:
    """The index that nodes claim from begins with the bucket: a distributed database may spread it by that."""
    due = [text for text in STATEMENTS.values() if "CREATE INDEX runs_due_in_common ON runs (bucket, due_at)" in text]
    assert len(due) == 1


def without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'", "", text)
