"""What a row has measured: cases, each with rounds of figures, and the goals that they are held against. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Faults:
    """What must not be, in any round: calls that came again, came before their time, did not come."""

    doubles: int = 0
    early: int = 0
    missing: int = 0

    def __bool__(self) -> bool:
        return any((self.doubles, self.early, self.missing))

    def __add__(self, other: "Faults") -> "Faults":
        return Faults(self.doubles + other.doubles, self.early + other.early, self.missing + other.missing)

    def figures(self) -> dict[str, float]:
        """Return them beside the other figures of a round."""
        return {"doubles": self.doubles, "early": self.early, "missing": self.missing}


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure of a case has to reach. `limit` names the figure that no scheduler here could go beyond."""

    figure: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    limit: str | None = None

    def is_met(self, value: float) -> bool:
        """Whether a median is good enough."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def text(self) -> str:
        """What has to be reached, for a person."""
        parts = (("≥", self.at_least), ("≤", self.at_most))
        return " and ".join(f"{sign} {readable(bound)}" for sign, bound in parts if bound is not None) + f" {self.unit}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One case of a row, over its rounds. `label` says what was measured, for a person."""

    label: str
    rounds: Sequence[Mapping[str, float]]
    goals: Sequence[Goal] = ()
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What goes along a line (a minute a value) of the last round, for a plot."""

    def spread(self, figure: str) -> Spread | None:
        """Return how a figure came out, None where no round has it."""
        values = [figures[figure] for figures in self.rounds if figure in figures]
        return Spread.of(values) if values else None

    @property
    def faults(self) -> Faults:
        """What was wrong over all rounds, in sum."""
        names = asdict(Faults())
        return Faults(**{name: int(sum(figures.get(name, 0) for figures in self.rounds)) for name in names})

    def line(self) -> str:
        """Return the medians and spreads on a line, for a terminal."""
        names = list(dict.fromkeys(name for figures in self.rounds for name in figures))
        spreads = [(name, self.spread(name)) for name in names]
        return "   ".join(
            f"{name} {readable(found.median)}" + (f" ({readable(found.least)}..{readable(found.most)})" * spans(found))
            for name, found in spreads
            if found is not None
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a command has measured, as it is kept in a file."""

    row: str
    title: str
    command: str
    at: str
    machine: Mapping[str, Any]
    cases: Sequence[Measurement]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document. Medians and spreads stand in it for whoever reads it by eye."""
        document = asdict(self)
        for case, plain in zip(self.cases, document["cases"], strict=True):
            names = {name for figures in case.rounds for name in figures}
            plain["medians"] = {name: asdict(found) for name in sorted(names) if (found := case.spread(name))}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Result":
        """Return what `to_json` has written."""
        cases = [
            Measurement(
                case["label"], case["rounds"], [Goal(**goal) for goal in case["goals"]], case.get("series") or {}
            )
            for case in document["cases"]
        ]
        names = ("row", "title", "command", "at", "machine")
        return cls(**{name: document[name] for name in names}, cases=cases)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the least of the sorted values that `share` of them do not exceed (nearest rank); 0 of none."""
    return ordered[max(math.ceil(len(ordered) * share), 1) - 1] if ordered else 0.0


def spans(found: Spread) -> bool:
    """Whether the rounds came out differently enough to be told."""
    return readable(found.least) != readable(found.most)


def readable(value: float) -> str:
    """Return a figure with as many digits as anybody can use."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:,.4g}"
