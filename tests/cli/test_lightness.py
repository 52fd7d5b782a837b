"""What the command line loads before it knows what is asked: little, or `--help` would be slow. Modules, no seconds."""

import subprocess
import sys

HEAVY = (
    *("aiohttp", "asyncio", "countwheel.main", "cryptography", "joserfc", "jsonschema_rs", "msgspec", "psycopg"),
    *("rich", "starlette", "structlog", "uvicorn", "uvloop", "yaml"),
)


def test_the_command_line_loads_nothing_heavy() -> None:
    """Neither the server nor what it is made of: each of them costs 10 to 300 ms."""
    listing = "import sys, countwheel.cli.app; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []


def test_help_loads_no_more_than_it_shows() -> None:
    """No server, and no reader of Markdown: the helps are plain text."""
    listing = (
        "import sys, countwheel.cli.app as cli\ntry: cli.app(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", listing], check=False, capture_output=True, text=True)
    assert "A distributed job scheduler." in ended.stdout
    loaded = ended.stderr.split()
    assert "cyclopts.help" in loaded
    assert [name for name in ("countwheel.main", "psycopg", "starlette", "markdown_it") if name in loaded] == []
