"""Patterns of policies: `*` stands for any characters, slashes too, `?` for any one; case counts. Pure.

No pattern makes a match slow. Without `?`, the pieces between the stars are looked for from left to right, and none is
looked for again: its first place is its best one, because the star behind it takes up whatever follows. With `?`, one
walk over the text keeps every place of the pattern that may have been reached, as bits of a number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_PATTERN_CHARACTERS = 512
MAX_STARS = 8

Matcher = Callable[[str], bool]
"""Says whether a text matches."""


def compile_glob(pattern: str) -> Matcher:
    """Return what tells whether a text, as a whole, matches."""
    if "?" in pattern:
        return _Places.of(pattern).match
    first, *pieces = pattern.split("*")
    return _Pieces(first, tuple(pieces[:-1]), pieces[-1]).match if pieces else pattern.__eq__


def compile_globs(patterns: Sequence[str]) -> Matcher:
    """Return what tells whether a text matches one of the patterns; none matches where there are none."""
    if "*" in patterns:
        return lambda _: True
    if len(patterns) == 1:
        return compile_glob(patterns[0])
    plain = frozenset(pattern for pattern in patterns if not is_glob(pattern))
    matchers = tuple(compile_glob(pattern) for pattern in patterns if is_glob(pattern))

    def match(text: str) -> bool:
        if text in plain:
            return True
        for matches in matchers:  # noqa: SIM110 (a generator costs more than a match)
            if matches(text):
                return True
        return False

    return match if matchers else plain.__contains__


def is_glob(pattern: str) -> bool:
    """Whether it stands for more than itself."""
    return "*" in pattern or "?" in pattern


def can_begin_with(pattern: str, beginning: str) -> bool:
    """Whether some text that begins so matches."""
    head, star, _ = pattern.partition("*")
    agree = all(wanted in {"?", found} for wanted, found in zip(head, beginning, strict=False))
    return agree and (bool(star) or len(head) >= len(beginning))


def check_glob(pattern: str) -> None:
    """Raise `ValueError` for a pattern beyond the limits."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"is longer than {MAX_PATTERN_CHARACTERS} characters")
    if pattern.count("*") > MAX_STARS:
        raise ValueError(f"has more than {MAX_STARS} *: fewer match as much")


@dataclass(frozen=True, slots=True)
class _Pieces:
    """`first*middle*...*last`."""

    first: str
    middle: tuple[str, ...]
    last: str

    def match(self, text: str) -> bool:
        if not (text.startswith(self.first) and text.endswith(self.last)):
            return False
        position = len(self.first)
        for piece in self.middle:
            found = text.find(piece, position)
            if found < 0:
                return False
            position = found + len(piece)
        return position + len(self.last) <= len(text)


@dataclass(frozen=True, slots=True)
class _Places:
    """A pattern without its stars has `length` characters; bit n stands for the place before character n."""

    length: int
    stars: int
    """The places that a star stands at: what is there may stay there."""
    any: int
    """The places that any character leads on from."""
    by_character: dict[str, int]
    """The places that a character leads on from, those of `any` included."""

    @classmethod
    def of(cls, pattern: str) -> "_Places":
        stars, length, any_character = 0, 0, 0
        own: dict[str, int] = {}
        for character in pattern:
            place = 1 << length
            if character == "*":
                stars |= place
                continue
            length += 1
            if character == "?":
                any_character |= place
            else:
                own[character] = own.get(character, 0) | place
        leads_on = {character: places | any_character for character, places in own.items()}
        return cls(length, stars, any_character, leads_on)

    def match(self, text: str) -> bool:
        reached = 1
        for character in text:
            reached = (reached & self.by_character.get(character, self.any)) << 1 | reached & self.stars
            if not reached:
                return False
        return bool(reached >> self.length)
