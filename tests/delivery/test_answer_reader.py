"""The reader of answers: the same, however their bytes come."""

import itertools

import pytest
from answers import CASES, Case
from hypothesis import given
from hypothesis import strategies as st

from countwheel.delivery.answer import AnswerReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n"
)
ANSWERS = {
    "with a length": b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\nx-a: 1\r\nx-a: 2\r\n\r\nhello",
    "chunked, with a trailer": CHUNKED,
    "after two interim ones": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + CHUNKED,
    "without a body": b"HTTP/1.1 204 No Content\r\nretry-after: 7\r\n\r\n",
    "with an end for a length": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "with more than was announced": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
}


def read(pieces: list[bytes]) -> tuple:
    """What is read of an answer that comes in these pieces, as a connection feeds them."""
    reader = AnswerReader()
    for piece in pieces:
        if reader.fault is not None or reader.done:
            break
        reader.feed(piece)
    has_status = reader.end() if not reader.done and reader.fault is None else reader.fault is None
    fault = reader.fault is not None
    if fault:
        return True, False, 0, b"", ()
    return False, has_status, reader.status, reader.head, reader.headers()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_split_at_every_byte_it_is_the_same_answer(answer: bytes) -> None:
    """In two pieces, wherever the cut, and byte by byte."""
    whole = read([answer])
    assert all(read([answer[:cut], answer[cut:]]) == whole for cut in range(1, len(answer)))
    assert read([answer[place : place + 1] for place in range(len(answer))]) == whole


@given(st.sampled_from(sorted(ANSWERS.values())), st.lists(st.integers(1, 200), max_size=12))
def test_split_anywhere_it_is_the_same_answer(answer: bytes, cuts: list[int]) -> None:
    """The law behind it, for any number of pieces."""
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[begin:end] for begin, end in itertools.pairwise(places)]
    assert read(pieces) == read([answer])


@given(st.sampled_from(sorted(CASES)), st.lists(st.floats(0, 1), max_size=12))
def test_split_anywhere_what_a_hostile_target_says_is_the_same(name: str, cuts: list[float]) -> None:
    """The law for everything in `CASES`, what goes beyond a bound included."""
    answer = CASES[name].said
    places = sorted({0, len(answer), *(int(cut * len(answer)) for cut in cuts)})
    assert read([answer[begin:end] for begin, end in itertools.pairwise(places)]) == read([answer])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_byte_by_byte_what_a_hostile_target_says_is_the_same(case: Case) -> None:
    """Every cut at once."""
    assert read([case.said[place : place + 1] for place in range(len(case.said))]) == read([case.said])


@given(st.binary(max_size=300))
def test_whatever_comes_ends_in_an_answer_or_in_a_fault(junk: bytes) -> None:
    """Nothing is raised, and nothing but an answer has a status."""
    fault, has_status, status, *_ = read([b"HTTP/1.1 ", junk])
    assert not (fault and has_status)
    assert has_status == (status != 0)


def state_of(reader: AnswerReader) -> tuple[object, ...]:
    """All that a connection asks of a reader."""
    return reader.fault, reader.done, reader.clean, reader.status, reader.head, reader.headers()


@pytest.mark.parametrize("answer", [*ANSWERS.values(), *(case.said for case in CASES.values())], ids=[*ANSWERS, *CASES])
def test_an_answer_that_is_known_is_the_same_answer(answer: bytes) -> None:
    """Heard a second time, and by another reader, it says what it said; and what comes next is read as ever."""
    reader, other = AnswerReader(), AnswerReader()
    reader.feed(answer)
    first = state_of(reader)
    other.feed(answer)
    assert state_of(other) == first
    if reader.clean:
        for _ in range(2):
            reader.begin()
            reader.feed(answer)
            assert state_of(reader) == first
        reader.begin()
        reader.feed(CHUNKED[:30])
        assert not reader.done
        reader.feed(CHUNKED[30:])
        assert (reader.clean, reader.head) == (True, b"hello world")


def test_an_answer_that_is_known_is_not_taken_to_pieces_again() -> None:
    """Where it came whole, short and clean: no parser is needed for it."""
    answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\nx-a: 1\r\n\r\nhere"
    AnswerReader().feed(answer)
    reader = AnswerReader()
    reader.release()
    reader.feed(answer)
    assert state_of(reader) == (None, True, True, 202, b"here", (("content-length", "4"), ("x-a", "1")))


def test_answers_that_are_all_different_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is bounded, and so is what is known of one."""
    known: dict[bytes, object] = {}
    monkeypatch.setattr("countwheel.delivery.answer._known", known)
    for number in range(5_000):
        AnswerReader().feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n%04d" % number)
        assert len(known) <= 512
    known.clear()
    AnswerReader().feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000)
    assert not known
