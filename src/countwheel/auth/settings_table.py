"""One table of a settings file, read key by key: a wrong value is an error that names its place, and so is a key that
nobody asked for, since a mistyped setting must not be silent.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TrustFileError(ValueError):
    """A mistake in the file of issuers: where it is, and what would be right."""


class Table:
    """The keys of one table. What is read is taken out; `finish` objects to what is left."""

    def __init__(self, place: str, values: Mapping[str, Any], folder: Path) -> None:
        """`place` is what errors begin with; paths are relative to `folder`."""
        self._place = place
        self._values = dict(values)
        self._folder = folder
        self._asked: set[str] = set()

    def fault(self, name: str, detail: str) -> TrustFileError:
        """Return the error for a key."""
        return TrustFileError(f"{self._place}: {name}: {detail}")

    def has(self, name: str) -> bool:
        """Whether a key is given and not read yet."""
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a text that is not empty."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            raise self.fault(name, f"{value!r} is no text: give one in quotes")
        return value

    def required_text(self, name: str, example: str) -> str:
        """Return a text that must be given."""
        value = self.text(name)
        if value is None:
            raise self.fault(name, f"is missing: give one like {example}")
        return value

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of texts; one text alone is a list of one."""
        value = self._take(name)
        if value is None:
            return default
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not entries or not all(isinstance(one, str) and one for one in entries):
            raise self.fault(name, f'{value!r} is no list of texts: give one like ["a", "b"]')
        return tuple(entries)

    def switch(self, name: str) -> bool:
        """Return true or false; false where it is not given."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            raise self.fault(name, f"{value!r} is neither true nor false")
        return bool(value)

    def whole_number(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.fault(name, f"{value!r} is not a whole number from 0 to {most}")
        return value

    def file(self, name: str) -> Path | None:
        """Return the path of a file that is there and can be read."""
        text = self.text(name)
        if text is None:
            return None
        path = self._folder / Path(text).expanduser()
        try:
            with path.open("rb"):
                return path
        except OSError as error:
            raise self.fault(name, f"cannot read {path}: {error.strerror or error}") from error

    def table(self, name: str) -> Mapping[str, Any] | None:
        """Return a table inside this one."""
        value = self._take(name)
        if value is not None and not isinstance(value, dict):
            raise self.fault(name, f"{value!r} is no table: write [issuer.{name}] and its keys below")
        return value

    def finish(self) -> None:
        """Raise `TrustFileError` for a key that means nothing here."""
        for name in self._values:
            close = difflib.get_close_matches(name, self._asked, n=1)
            known = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(self._asked))}"
            raise self.fault(name, f"is not a setting; {known}")

    def _take(self, name: str) -> object:
        self._asked.add(name)
        return self._values.pop(name, None)
