"""`python -m tests.crash --kills N`: a campaign of kills, and what it came to. The exit code is 1 if anything broke.

It is played in rounds, several at a time; a round is named by the seed and its own name: `--only NAME` plays it again.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from tests.arguments import again, seconds, whole
from tests.crash.oracle import Tally
from tests.crash.rounds import KILLING, Round, played, rounds
from tests.workers import crew


def main() -> int:
    """Play the rounds, say how each went, and in the end the counts by kind."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=whole(0), default=60, help="kills at random moments")
    parser.add_argument("--points", type=whole(0), default=40, help="system calls to be killed at; 0 is all of them")
    parser.add_argument("--stop", type=seconds, default=30.0, help="seconds that a controller is stopped for")
    parser.add_argument("--seed", type=int, default=1, help="names the campaign")
    parser.add_argument("--workers", type=whole(1), default=os.cpu_count() or 1, help="worlds at a time")
    parser.add_argument("--only", default="", metavar="NAME", help="the rounds whose names begin so")
    given = parser.parse_args()
    began = time.monotonic()
    kinds: dict[str, Tally] = {}
    try:
        for done, tally in _played(given, parser):
            print(f"{done}: {tally}", flush=True)
            if tally.violations:
                print(f"   to play it again: {_replaying(given, done)}", flush=True)
            kinds.setdefault(done.kind, Tally()).add(tally)
    except KeyboardInterrupt:
        _concluded(kinds, time.monotonic() - began)
        return 130
    return _concluded(kinds, time.monotonic() - began)


def _played(given: argparse.Namespace, parser: argparse.ArgumentParser) -> Iterator[tuple[Round, Tally]]:
    wanted = rounds(given.kills, given.points, given.stop, given.seed)
    chosen = [each for each in wanted if str(each).startswith(given.only)]
    if not chosen:
        parser.error(f"no round has a name that begins with {given.only!r}")
    with crew(get_context("spawn"), given.workers, tasks=1) as pool:
        yield from pool.imap_unordered(partial(played, given.seed), chosen)


def _replaying(given: argparse.Namespace, done: Round) -> str:
    numbers = {name: value for name, value in vars(given).items() if name not in {"workers", "only"}}
    words = (word for name, value in numbers.items() for word in (f"--{name}", value))
    return again("tests.crash", *words, "--only", done)


def _concluded(kinds: dict[str, Tally], seconds: float) -> int:
    total = Tally()
    table = Table("kind", *Tally.COUNTS, "violations", title=f"{seconds:.0f} s")
    for kind, tally in sorted(kinds.items()):
        table.add_row(kind, *tally.counts())
        total.add(tally)
    table.add_row("all", *total.counts(), end_section=True)
    Console(width=120).print(table)
    print(f"the longest SIGTERM took {total.longest:.1f} s")
    for violation in total.violations:
        print(f"VIOLATION {violation}")
    spared = [kind for kind in KILLING if kind in kinds and not kinds[kind].kills]
    for kind in spared:
        print(f"{kind}: no controller was killed, so nothing is proven")
    return int(bool(total.violations or spared))


if __name__ == "__main__":
    sys.exit(main())
