"""What a row of the table is: a command that measures, round by round, and what its figures have to reach."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measured import Measurement

Figures = Mapping[str, float]
Round = Callable[[], Awaitable[Figures]]


@dataclass(frozen=True, slots=True)
class Row:
    """`python -m benchmarks NAME`. `run` measures every case of it; `--rounds`, `--workers` and `--json` are added."""

    name: str
    title: str
    about: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Awaitable[Sequence[Measurement]]]
    rounds: int = 5


async def alternate(rounds: int, cases: Mapping[str, Round]) -> dict[str, list[Figures]]:
    """Measure every case once a round, in turn, so that a slow moment of the machine hits all of them.

    Each round begins with another one: whoever is first, or comes after whom, is the same for all in the end.
    """
    measured: dict[str, list[Figures]] = {label: [] for label in cases}
    order = list(cases.items())
    for number in range(rounds):
        first = number % len(order)
        for label, measure in order[first:] + order[:first]:
            figures = await measure()
            measured[label].append(figures)
            print(f"  {number + 1}/{rounds} {label}: {Measurement(label, [figures]).line()}", flush=True)
    return measured


async def repeat(rounds: int, label: str, measure: Round) -> list[Figures]:
    """Measure one case round by round."""
    return (await alternate(rounds, {label: measure}))[label]
