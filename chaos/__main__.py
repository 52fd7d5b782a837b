"""`python -m chaos`: rounds of faults, each judged; exit code 0 only if every promise was kept."""

import argparse
import asyncio
import sys
from pathlib import Path
from time import monotonic, time

from chaos.mutations import HARMLESS, MUTATIONS
from chaos.round import RoundPlan, play
from checker.report import Verdict


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Everything goes wrong, by seed.")
    parser.add_argument("--seconds", type=float, default=300, help="length of a round (default 300)")
    parser.add_argument("--seed", type=int, nargs="*", help="one round for each (default: one, by the clock)")
    parser.add_argument("--frozen", action="store_true", help="2 of 3 nodes are frozen and thawed all the time")
    parser.add_argument("--calm", action="store_true", help="no faults at all")
    parser.add_argument("--load", type=float, default=1.0, help="factor on the number of jobs (default 1)")
    parser.add_argument("--mutations", action="store_true", help="take each prevention out once: all must be caught")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="take one prevention out")
    parser.add_argument("--keep", type=Path, help="keep the history in this file, for python -m checker")
    return parser.parse_args()


def main() -> int:
    """Play what is asked for."""
    given = _parse()
    if given.mutations:
        return _all_mutations(given)
    seeds = given.seed or [int(time())]
    passed = True
    for seed in seeds:
        print(f"seed {seed}, {given.seconds:.0f} s{', 2 of 3 nodes frozen' if given.frozen else ''}", flush=True)
        verdict = _play(given, seed, given.mutation or "", given.seconds)
        print(verdict.text(), flush=True)
        if not verdict.passed:
            print(f"again: python -m chaos --seed {seed} --seconds {given.seconds:.0f}")
        passed &= verdict.passed
    return 0 if passed else 1


def _play(given: argparse.Namespace, seed: int, mutation: str, seconds: float) -> Verdict:
    plan = RoundPlan(
        seed=seed,
        seconds=seconds,
        fault_every_seconds=0.0 if given.calm else 2.5,
        frozen=given.frozen,
        mutation=mutation,
        load=given.load,
        keep=given.keep,
        say=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    return asyncio.run(play(plan))


def _all_mutations(given: argparse.Namespace) -> int:
    """Take each prevention out, for a minute of chaos at the most."""
    print("| mutation | caught by | seconds |\n|---|---|---|", flush=True)
    as_it_must_be = True
    for mutation in MUTATIONS:
        began = monotonic()
        verdict = _play(given, 7, mutation, min(given.seconds, 60))
        found = ", ".join(f"{rule} ({count})" for rule, count in verdict.broken().most_common())
        print(f"| {mutation} | {found or 'nothing'} | {monotonic() - began:.0f} |", flush=True)
        as_it_must_be &= verdict.passed is (mutation in HARMLESS)
    return 0 if as_it_must_be else 1


if __name__ == "__main__":
    sys.exit(main())
