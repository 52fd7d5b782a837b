"""Becomes a PostgreSQL program in the foreground: runs as a script of its own, with the standard library alone.

    python -I -S launch.py PARENT_PID UID GID REACH -- PROGRAM ARGUMENT...

Before the program starts: a session of its own (a Ctrl-C in the terminal must not reach PostgreSQL, which is
stopped last), the account UID:GID where we are root (PostgreSQL refuses root), and on Linux a death signal, so that a
killed parent takes PostgreSQL along by a clean fast shutdown.

REACH=1 keeps one capability over the change of account: to pass directories that the account cannot enter. A clone
under /root or in a private temporary folder then works, and no directory is opened to anybody.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main(arguments: list[str]) -> None:
    """Prepare this process and replace it by the program."""
    parent, uid, gid, reach = map(int, arguments[:4])
    program = arguments[5:]
    os.setsid()
    # What PostgreSQL makes is its own business: the terminal's or the caller's mask must not open it.
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if os.geteuid() == 0 and uid != 0:
        if reach and libc is not None:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if reach and libc is not None:
            _keep_one_capability(libc)
    if libc is not None:
        # After the change of account, which would clear it. SIGINT is PostgreSQL's fast, clean shutdown.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent is gone already")
    os.execv(program[0], program)  # noqa: S606 (no shell is wanted)


def _keep_one_capability(libc: ctypes.CDLL) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    libc.capget(ctypes.byref(header), data)
    # Searching directories is all that is needed; where a container withholds that, overriding includes it.
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        bit = 1 << capability
        if data[0].permitted & bit:
            kept = (_Data * 2)(_Data(bit, bit, bit), _Data(0, 0, 0))
            libc.capset(ctypes.byref(header), kept)
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
            return
    libc.capset(ctypes.byref(header), (_Data * 2)())


if __name__ == "__main__":
    main(sys.argv[1:])
