"""Rings at a moment, to the tenth of a millisecond.

The event loop's own timers have a grain of a millisecond, and fire up to 1.4 ms early. A timer of the kernel
(timerfd, Linux) is 0.05 ms late. Elsewhere the loop's timers serve, and the last 0.4 ms go by in turns of the loop.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Protocol

_SPIN_SECONDS = 0.0004
"""Closer than this, the loop is run round instead of one of its timers set."""
_LEAST_SECONDS = 1e-6
"""Zero would unset the kernel's timer."""
_CLOCK_MONOTONIC = 1


class Alarm(Protocol):
    """Rings once for each time that it is set."""

    def set(self, seconds: float) -> None:
        """Ring in `seconds`, in place of whatever it was set to."""
        ...

    def close(self) -> None:
        """Never ring again."""
        ...


AlarmMaker = Callable[[Callable[[], None]], Alarm]
"""Makes an alarm on the running event loop that calls what it is given."""


def loop_alarm(ring: Callable[[], None]) -> Alarm:
    """Return an alarm that keeps the event loop's own time, whatever that is."""
    return LoopAlarm(asyncio.get_running_loop(), ring)


def kernel_alarm(ring: Callable[[], None]) -> Alarm:
    """Return the best alarm that the system has."""
    if sys.platform == "linux":
        try:
            return KernelAlarm(asyncio.get_running_loop(), ring)
        except (OSError, AttributeError):
            pass  # a libc without timerfd
    return loop_alarm(ring)


class LoopAlarm:
    """An alarm by a timer of the event loop. It may ring early."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.Handle | None = None

    def set(self, seconds: float) -> None:
        """Ring in `seconds`."""
        self.close()
        soon = seconds < _SPIN_SECONDS
        self._handle = self._loop.call_soon(self._ring) if soon else self._loop.call_later(seconds, self._ring)

    def close(self) -> None:
        """Do not ring any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class KernelAlarm:
    """An alarm by a timerfd. Python has them from 3.13 on; until then they are asked of the C library."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        """Raises `OSError` or `AttributeError` where there is none to be had."""
        self._loop = loop
        self._ring = ring
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "no timerfd")
        self._setting = _Setting()
        self._at = ctypes.byref(self._setting)
        loop.add_reader(self._fd, self._on_ring)

    def set(self, seconds: float) -> None:
        """Ring in `seconds`."""
        whole, part = divmod(max(seconds, _LEAST_SECONDS), 1)
        value = self._setting.value
        value.seconds, value.nanoseconds = int(whole), int(part * 1e9)
        self._settime(self._fd, 0, self._at, None)

    def close(self) -> None:
        """Never ring again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._ring()
