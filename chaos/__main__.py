"""`python -m chaos`: rounds of faults, each judged; exit code 0 only if every promise was kept."""

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path
from time import monotonic, time

from chaos import drills
from chaos.edits import play_edits
from chaos.failover import play_failover
from chaos.hostile import beside_hostile
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
    parser.add_argument("--failover", action="store_true", help="kill the primary under 500 runs/s")
    parser.add_argument("--edits", action="store_true", help="10,000 jobs, changed around their due instants")
    parser.add_argument("--drills", action="store_true", help="one fault under a steady load, in figures")
    parser.add_argument("--hostile", action="store_true", help="every kind of hostile target beside a healthy one")
    parser.add_argument("--keep", type=Path, help="keep the history in this file, for python -m checker")
    return parser.parse_args()


def main() -> int:
    """Play what is asked for."""
    given = _parse()
    if given.mutations:
        return _all_mutations(given)
    if given.edits:
        return _edits(given)
    if given.drills:
        return _drills()
    if given.failover:
        return _failover(given)
    if given.hostile:
        print(asyncio.run(beside_hostile()).text())
        return 0
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


def _edits(given: argparse.Namespace) -> int:
    """Change thousands of jobs while they are due."""
    done = asyncio.run(play_edits(int(10_000 * given.load), seed=(given.seed or [1])[0]))
    if given.keep is not None:
        done.history.save(given.keep)
    print(done.text())
    return 0 if done.verdict.passed else 1


def _drills() -> int:
    """Play every drill, and print its figures."""
    passed = True
    played = (
        drills.kill,
        partial(drills.kill, blind=False),
        drills.restart,
        drills.stop,
        partial(drills.drain, 1),
        partial(drills.drain, 4),
    )
    for drill in played:
        done = asyncio.run(drill())
        print(done.text(), flush=True)
        passed &= done.verdict.passed
    return 0 if passed else 1


def _failover(given: argparse.Namespace) -> int:
    """Kill the primary under load, and say how long nothing was called."""
    done = asyncio.run(play_failover(rate=500 * given.load, seconds=min(given.seconds, 30)))
    print(f"promoted after {done.promoted_after_seconds:.2f} s, without dispatch {done.without_dispatch_seconds:.2f} s")
    print(done.verdict.text())
    return 0 if done.verdict.passed else 1


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
