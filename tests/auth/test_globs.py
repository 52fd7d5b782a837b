"""Criterion A7: patterns of policies match what they should, and none makes a match slow."""

from itertools import product
from typing import Self, SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_model import glob_matches

from countwheel.auth.globs import (
    MAX_PATTERN_CHARACTERS,
    MAX_STARS,
    can_begin_with,
    check_glob,
    compile_glob,
    compile_globs,
    is_glob,
)

PATTERNS = st.text(alphabet="ab*?", max_size=9)
TEXTS = st.text(alphabet="ab*?", max_size=9)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("", [""], ["a"]),
        ("*", ["", "a", "jobs/1/run/2", "a\nb"], []),
        ("?", ["a", "/", "\n", "ß", "*"], ["", "ab"]),
        ("jobs/1", ["jobs/1"], ["jobs/11", "jobs/", "JOBS/1", "jobs/*"]),
        ("jobs/*", ["jobs/", "jobs/1", "jobs/1/run/2", "jobs/*"], ["jobs", "xjobs/1"]),
        ("jobs/*/run/*", ["jobs/1/run/2", "jobs/1/run/", "jobs//run/2/run/3"], ["jobs/1/run", "jobs/run/2"]),
        ("*:Delete", ["jobs:Delete", ":Delete"], ["jobs:DeleteAll", "jobs:delete"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("ab*bc", ["abbc", "ab-bc"], ["abc"]),
        ("a*ab*b", ["aabb", "aab-b"], ["aab", "abb"]),
        ("*a*a*", ["aa", "bab-a"], ["a", "bab"]),
        ("*ab*ba*", ["abba", "ab-ba"], ["aba", "ba-ab"]),
        ("*ab*b", ["abb"], ["ab"]),
        ("jobs/??", ["jobs/12", "jobs/*/"], ["jobs/1", "jobs/123"]),
        ("?*?", ["ab", "abc"], ["", "a"]),
        ("[a-z].+(x|y)$", ["[a-z].+(x|y)$"], ["a", "bzx"]),
    ],
)
def test_a7_star_and_question_mark_and_nothing_else(pattern: str, matching: list[str], other: list[str]) -> None:
    """A7: `*` stands for anything, slashes and nothing too, `?` for one character, and all else for itself."""
    for matches in (compile_glob(pattern), compile_globs([pattern]), compile_globs([pattern, "none"])):
        assert [text for text in (*matching, *other) if matches(text)] == matching


@given(PATTERNS, TEXTS)
@settings(max_examples=1_000)
def test_a7_a_glob_matches_what_trying_everything_finds(pattern: str, text: str) -> None:
    """A7: the fast way and the plain way agree."""
    assert compile_glob(pattern)(text) == glob_matches(pattern, text)


@given(st.lists(PATTERNS, max_size=3), TEXTS)
def test_a7_of_several_patterns_one_is_enough(patterns: list[str], text: str) -> None:
    """A7: and of none, none matches."""
    assert compile_globs(patterns)(text) == any(glob_matches(pattern, text) for pattern in patterns)
    assert [is_glob(pattern) for pattern in patterns] == [set("*?") & set(pattern) != set() for pattern in patterns]


@given(st.text(alphabet="a/*?", max_size=4), st.text(alphabet="a/", max_size=3))
def test_a7_what_can_begin_with_something_is_known(pattern: str, beginning: str) -> None:
    """A7: exactly where some ending makes a text of it that matches."""
    endings = ("".join(letters) for length in range(5) for letters in product("a/", repeat=length))
    expected = any(glob_matches(pattern, beginning + ending) for ending in endings)
    assert can_begin_with(pattern, beginning) == expected


class Counted(str):
    """A text that counts how many of its characters were looked at."""

    __slots__ = ("steps",)

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.steps = 0
        return made

    def __iter__(self):
        for character in str(self):
            self.steps += 1
            yield character

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = str(self)[key]
        self.steps += len(part)
        return part

    def find(self, wanted: str, start: int = 0, end: int | None = None) -> int:
        end = len(self) if end is None else end
        found = str(self).find(wanted, start, end)
        self.steps += end - start if found < 0 else found + len(wanted) - start
        return found

    def startswith(self, wanted: str) -> bool:
        self.steps += len(wanted)
        return str(self).startswith(wanted)

    def endswith(self, wanted: str) -> bool:
        self.steps += len(wanted)
        return str(self).endswith(wanted)


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * MAX_STARS + "*b",
        "*a" * MAX_STARS + "*b*",
        "*?a" * MAX_STARS + "b",
        "*a?" * MAX_STARS + "b*",
        "*" + "a" * 200 + "b*",
        "*" + "?" * 200 + "b*",
        "*" * MAX_STARS,
    ],
)
def test_a7_no_pattern_makes_a_match_slow(pattern: str) -> None:
    """A7: each character of a text is looked at once, at most, whatever the stars; a hundred times the text, a hundred
    times the work.
    """
    for length in (1_000, 100_000):
        text = Counted("a" * length)
        compile_glob(pattern)(text)
        assert text.steps <= length + len(pattern)


@given(st.text(alphabet="ab*?", max_size=30), st.text(alphabet="ab", max_size=200))
def test_a7_each_character_is_looked_at_once(pattern: str, text: str) -> None:
    """A7: for every pattern and text."""
    counted = Counted(text)
    compile_glob(pattern)(counted)
    assert counted.steps <= len(text) + len(pattern)


def test_a7_a_pattern_has_limits() -> None:
    """A7: in its length and in its stars."""
    check_glob("a" * MAX_PATTERN_CHARACTERS)
    check_glob("*" * MAX_STARS)
    with pytest.raises(ValueError, match="longer than 512"):
        check_glob("a" * (MAX_PATTERN_CHARACTERS + 1))
    with pytest.raises(ValueError, match="more than 8"):
        check_glob("*" * (MAX_STARS + 1))
