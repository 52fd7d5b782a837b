"""Arrays in PostgreSQL's binary format, made for whole batches at once.

The driver's own way to an array is a loop in Python with several calls an element: of a batch of ends that was the
largest part (24 us a run for its 19 columns; this is 4). Here a column is one join of bytes.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from psycopg import adapters
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiIii")
"""Dimensions, whether there are NULLs, the elements' type, how many there are, and the first one's index."""
_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">iq")
_FLOAT8 = struct.Struct(">id")
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class BinaryArray:
    """One column of a batch, ready to be sent. `oid` is the array's type: PostgreSQL's own number, in every release."""

    __slots__ = ("data",)
    oid: ClassVar[int]
    element_oid: ClassVar[int]
    write: ClassVar[Callable[[Any], bytes]]
    """How one element is written: its length and its bytes."""

    def __init__(self, values: Sequence[Any]) -> None:
        """`values` are of the Python type that the class is for, or None."""
        if not values:
            self.data = _HEAD.pack(1, 1, self.element_oid, 0, 1)
            return
        write = type(self).write
        head = _HEAD.pack(1, 1, self.element_oid, len(values), 1)
        # Two thirds of the columns of a batch of ends hold one value, or none.
        # (The ends are looked at first: to count is a call a row where the values are UUIDs.)
        is_one = values[0] == values[-1] and values.count(values[0]) == len(values)
        varying = values[:1] if is_one else values
        written = b"".join([_NULL if value is None else write(value) for value in varying])
        self.data = head + written * (len(values) // len(varying))


class _ArrayDumper(Dumper):
    """Hands over what is ready."""

    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> Buffer:
        return obj.data


ARRAYS: dict[type, type[BinaryArray]] = {}
"""By the type of the values."""


def _declare(of: type, oid: int, element_oid: int, write: Callable[[Any], bytes]) -> None:
    members = {"__slots__": (), "oid": oid, "element_oid": element_oid, "write": staticmethod(write)}
    array = type(f"{of.__name__.title()}Array", (BinaryArray,), members)
    ARRAYS[of] = array
    # For every connection: the class is ours alone.
    adapters.register_dumper(array, type(f"_{array.__name__}Dumper", (_ArrayDumper,), {"oid": oid}))


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _instant(value: datetime) -> bytes:
    return _INT8.pack(8, (value - _EPOCH) // _MICROSECOND)


_declare(bool, 1000, 16, lambda value: b"\0\0\0\1\1" if value else b"\0\0\0\1\0")
_declare(bytes, 1001, 17, _bytes)
_declare(int, 1016, 20, lambda value: _INT8.pack(8, value))  # the statement's cast says how wide the column is
_declare(str, 1009, 25, lambda value: _bytes(value.encode()))
_declare(float, 1022, 701, lambda value: _FLOAT8.pack(8, value))
_declare(datetime, 1185, 1184, _instant)
_declare(UUID, 2951, 2950, lambda value: b"\0\0\0\x10" + value.int.to_bytes(16))
