"""What the logs say of an error, and what they keep to themselves."""

import subprocess
import sys

import pytest

BREAKS = """
import structlog
from countwheel.logs import configure_logging
configure_logging({log_format!r}, "info")
def use(secret):
    raise RuntimeError("it broke")
try:
    use("hunter" + str(2))
except RuntimeError:
    structlog.get_logger("test").exception("something is wrong")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_where_and_no_value(log_format: str) -> None:
    """A local variable may be a secret: neither format tells one."""
    code = BREAKS.format(log_format=log_format)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "something is wrong" in ended.stderr
    assert "RuntimeError: it broke" in ended.stderr
    assert "hunter2" not in ended.stderr
