"""One server a data directory: an exclusive lock that ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class DataDirectoryInUseError(Exception):
    """Another server is running on this data directory."""


class DataDirectoryLock:
    """A lock on a data directory, held from `__enter__` to `__exit__` or to the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._file = -1

    def __enter__(self) -> Self:
        """Take the lock; makes the directory. Raises `DataDirectoryInUseError` that names the holder."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        file = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise DataDirectoryInUseError(
                f"another countwheel (process {holder}) is running on {self._data_dir}: stop it, "
                "or set COUNTWHEEL_DATA_DIR to another directory (and COUNTWHEEL_PORT to another port)"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        os.close(self._file)  # closing ends the flock
        self._file = -1
