"""Cron: what an expression means, and which wall-clock time it names next."""

from countwheel.domain.cron.expression import (
    CRON_PATTERN,
    MAX_EXPRESSION_CHARACTERS,
    NICKNAMES,
    NO_JOB,
    Cron,
    has_hash,
    parse_cron,
)
from countwheel.domain.cron.fields import CronError
from countwheel.domain.cron.words import cron_in_words, doubts, spread

__all__ = [
    "CRON_PATTERN",
    "MAX_EXPRESSION_CHARACTERS",
    "NICKNAMES",
    "NO_JOB",
    "Cron",
    "CronError",
    "cron_in_words",
    "doubts",
    "has_hash",
    "parse_cron",
    "spread",
]
