"""What the sink takes is what is counted."""

from datetime import UTC, datetime

import pytest

from benchmarks import receipts
from benchmarks.endurance import by_minute
from benchmarks.measured import Faults
from benchmarks.receipts import Receipt
from benchmarks.sink import ANSWER, Receiver

CALL = (
    b"POST /hook HTTP/1.1\r\nhost: x\r\nwebhook-id: %b\r\ncountwheel-scheduled-for: 2026-01-01T00:00:00.250Z\r\n"
    b"content-length: 2\r\n\r\n{}"
)
DUE = datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC).timestamp()


@pytest.fixture
def file(tmp_path):
    """Where the sink writes."""
    return tmp_path / "receipts"


@pytest.fixture
def receiver(file):
    """A sink without its sockets."""
    taking = Receiver(file)
    yield taking
    taking.close()


def test_call_is_answered_and_written_down(receiver, file):
    """Id, due time and flow of a call can be read when they were flushed."""
    assert receiver.take(CALL % b"one") == (ANSWER, b"")
    answer, _ = receiver.take(b"GET /count HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n1")
    (found,) = receipts.read(file)
    assert (found.id.rstrip(b"\0"), found.scheduled_for, found.flow) == (b"one", DUE, "h")


def test_call_in_pieces_is_one_call(receiver):
    """Whatever the network makes of it."""
    whole = CALL % b"one"
    for cut in range(1, len(whole)):
        answer, rest = receiver.take(whole[:cut])
        assert (answer, rest) == (b"", whole[:cut])
        assert receiver.take(rest + whole[cut:]) == (ANSWER, b"")


def test_calls_in_one_piece_are_each_answered(receiver):
    """Two requests behind each other are two, and what follows them waits."""
    assert receiver.take(CALL % b"one" + CALL % b"two" + b"POST") == (ANSWER * 2, b"POST")


def test_other_clients_are_understood(receiver, file):
    """Header names in any case, a body in chunks, no body at all: peers have clients of their own."""
    body = b"2\r\n{}\r\n0\r\n\r\n"
    chunked = b"POST /a HTTP/1.1\r\nWebhook-ID: one\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    bare = b"POST /a HTTP/1.1\r\nWebhook-Id: two\r\n\r\n"
    sized = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\nWebhook-Id: three\r\n\r\n{}"
    assert receiver.take(chunked + bare + sized) == (ANSWER * 3, b"")
    receiver.flush()
    assert [found.id.rstrip(b"\0") for found in receipts.read(file)] == [b"one", b"two", b"three"]
    assert [found.id.rstrip(b"\0") for found in receipts.read(file, since=2)] == [b"three"]


def test_what_must_not_be_is_counted():
    """A double, a call before its time and one that never came are three different faults."""
    came = [Receipt(10.0, b"a", 9.0, "h"), Receipt(10.5, b"a", 9.0, "h"), Receipt(8.0, b"b", 9.0, "h")]
    tally = receipts.count(came, expected=3)
    assert tally.faults == Faults(doubles=1, early=1, missing=1)
    assert (tally.first_at, tally.last_at) == (8.0, 10.5)
    assert tally.late_ms == [-1000.0, 1000.0, 1500.0]


def test_each_minute_is_judged_by_itself():
    """An occurrence belongs to the minute that it was due in, whenever it came; later ones are left out."""
    came = [Receipt(100.5, b"a", 100.0, "h"), Receipt(161.0, b"b", 159.0, "h"), Receipt(221.0, b"c", 220.0, "h")]
    first, second = by_minute(came, 100.0, 2, seconds=60, expected=2)
    assert first == ({"p50_ms": 500.0, "p99_ms": 2000.0}, Faults())
    assert second[1] == Faults(missing=2)
