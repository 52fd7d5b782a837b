"""COUNTWHEEL_SECRET_KEY_FILE: the key as orchestrators mount secrets."""

import base64
from pathlib import Path

import pytest

from countwheel.config import SettingError, read_settings

KEY = base64.b64encode(bytes(range(32))).decode()


def read(path: Path, **more: str):
    return read_settings({"COUNTWHEEL_SECRET_KEY_FILE": str(path)} | more, development=False)


def test_the_key_is_read_from_a_file(tmp_path: Path) -> None:
    """With or without a newline at its end; the name of the file is no unknown setting."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    settings = read(file)
    assert (settings.secret_key, settings.unknown) == (bytes(range(32)), ())


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, {}, "SECRET_KEY_FILE: cannot read"),
        ("\u00fc", {}, "SECRET_KEY_FILE: cannot read"),
        ("short", {}, "SECRET_KEY: "),
        (KEY, {"COUNTWHEEL_SECRET_KEY": KEY}, "SECRET_KEY_FILE: COUNTWHEEL_SECRET_KEY is set too"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str | None, more: dict, said: str) -> None:
    """No file, no key in it, or two keys: the error names the variable, and not the key."""
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingError, match=said) as raised:
        read(file, **more)
    assert KEY not in str(raised.value)
