"""`python -m tests.crash --kills N`: a campaign of kills, and what it came to. The exit code is 1 if anything broke.

It is played in rounds, several at a time; a round is named by the seed and its own name: `--only NAME` plays it again.
"""

import argparse
import os
import sys
import time
from functools import partial
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from tests.arguments import seconds, whole
from tests.crash.oracle import Tally
from tests.crash.rounds import played, rounds


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
    wanted = rounds(given.kills, given.points, given.stop, given.seed)
    chosen = [each for each in wanted if str(each).startswith(given.only)]
    if not chosen:
        parser.error(f"no round has a name that begins with {given.only!r}")
    with get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool:
        for done, tally in pool.imap_unordered(partial(played, given.seed), chosen):
            print(f"{done}: {tally}", flush=True)
            kinds.setdefault(done.kind, Tally()).add(tally)
    return _concluded(kinds, time.monotonic() - began)


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
    return int(bool(total.violations))


if __name__ == "__main__":
    sys.exit(main())
