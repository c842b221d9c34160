"""`python -m tests.mutants`: plants each bug in a copy of the tree and prints which check caught it.

The checks are those of continuous integration; the ones that a patch names come first, and only where they are
silent the whole suite and the linters follow. The exit code is 1 if too many survive or a patch does not apply.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import NoReturn

from tests.arguments import whole
from tests.mutants.checks import SUITE, Unusable, copy_of_the_tree, end_all, failing_linter, failing_test
from tests.mutants.mutant import ALLOWED_TO_LIVE, DoesNotApply, Mutant, mutants, plant, renew, rotated

_ONE_SUITE = Lock()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant: the check that caught it, or why none could ("" for a survivor)."""

    mutant: Mutant
    caught_by: str = ""
    trouble: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        said = self.caught_by or self.trouble or "SURVIVED: no check noticed it"
        return f"{self.mutant.name:26} {self.seconds:6.1f} s  {said}"


def main() -> int:
    """Run what was asked for. Told to end, it ends what it runs and takes its copies of the tree with it."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _end)
    given = _arguments()
    known = mutants()
    if given.renew:
        renew(next(each for each in known if each.name == given.renew))
        return 0
    chosen = [each for each in known if each.name in given.only] if given.only else known
    chosen = rotated(chosen, given.rotate, given.turn) if given.rotate else chosen
    if red := _red(chosen):
        print(f"the tree as it is fails {red}: nothing that fails now says anything about a planted bug")
        return 1
    with ThreadPoolExecutor(given.workers) as pool:
        outcomes = list(map(_told, pool.map(partial(hunt, workers=given.workers), chosen)))
    return verdict(outcomes, whole=len(chosen) == len(known))


def hunt(mutant: Mutant, workers: int) -> Outcome:
    """Plant one bug in a copy of the tree and look for a check that notices it."""
    began = time.monotonic()
    try:
        with copy_of_the_tree() as tree:
            plant(mutant, tree)
            caught_by = failing_test(tree, mutant.catchers)
            if not caught_by:
                with _ONE_SUITE:
                    caught_by = _by_any_check(mutant, workers)
    except DoesNotApply as error:
        return Outcome(mutant, trouble=f"FAILED: the patch does not apply: {error}")
    except Unusable as error:
        return Outcome(mutant, trouble=f"FAILED: {error}")
    return Outcome(mutant, caught_by, seconds=time.monotonic() - began)


def _by_any_check(mutant: Mutant, workers: int) -> str:
    """What of the rest of continuous integration notices it every time, and not in the tree as it is."""
    with copy_of_the_tree() as tree, copy_of_the_tree() as clean:
        plant(mutant, tree)
        test = failing_test(tree, SUITE, workers)
        if test and failing_test(tree, [test]) and not failing_test(clean, [test]):
            return f"{test} (not named in the patch)"
        linter = failing_linter(tree)
        return linter if linter and not failing_linter(clean) else ""


def _red(chosen: Sequence[Mutant]) -> str:
    """A named check that fails in the tree as it is, or why they cannot be run."""
    try:
        with copy_of_the_tree() as tree:
            return failing_test(tree, list(dict.fromkeys(node for each in chosen for node in each.catchers)))
    except Unusable as error:
        return f"to run what the patches name ({str(error).strip()})"


def _end(number: int, _: object) -> NoReturn:
    end_all()
    sys.exit(128 + number)


def _told(outcome: Outcome) -> Outcome:
    print(outcome, flush=True)
    return outcome


def verdict(outcomes: Sequence[Outcome], *, whole: bool) -> int:
    """Print what it came to; the exit code."""
    caught = sum(bool(each.caught_by) for each in outcomes)
    for each in outcomes:
        if not each.caught_by:
            print(f"\n{each.mutant.name}: {each.mutant.breaks}\n  violates {each.mutant.violates}")
    print(f"\n{caught} of {len(outcomes)} caught")
    enough = len(outcomes) - (ALLOWED_TO_LIVE if whole else 0)
    return int(caught < enough or any(each.trouble for each in outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    names = [each.name for each in mutants()]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help="only these")
    parser.add_argument("--rotate", type=whole(1), metavar="K", help="only K of them, others at each --turn")
    parser.add_argument(
        "--turn", type=int, default=0, help="which K: any number that moves, such as the day of the year"
    )
    parser.add_argument("--workers", type=whole(1), default=1, help="planted bugs looked for at a time")
    parser.add_argument(
        "--renew", metavar="NAME", choices=names, help="write a patch anew from what is changed in this work tree"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
