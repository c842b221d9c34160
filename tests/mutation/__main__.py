"""`python -m tests.mutation`: a sample of small changes to the modules that decide, and how many of them a test notices.

Figures, not gates: some changes change nothing that anybody could see. The exit code is 0 unless the unchanged modules
fail their own tests.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.table import Table

from tests.arguments import seconds, whole
from tests.mutation.trial import PLAYED, TESTS, Fate, Trial, copied, fate, noticed, trials


def main() -> int:
    """Try a sample until the time is up, print what survived, and the figures by module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=whole(0), default=80, help="how many mutations to try; 0 is all of them")
    parser.add_argument("--minutes", type=seconds, default=15.0, help="after which none is begun any more")
    parser.add_argument("--seed", type=int, default=1, help="names the sample")
    parser.add_argument("--only", default="", metavar="FILE", help="the modules whose paths begin so")
    parser.add_argument("--workers", type=whole(1), default=os.cpu_count() or 1, help="copies of the repository")
    given = parser.parse_args()
    found = [each for each in trials() if each.file.startswith(given.only)]
    if not found:
        parser.error(f"no module that decides has a path that begins with {given.only!r}")
    chosen = random.Random(given.seed).sample(found, min(given.sample or len(found), len(found)))
    print(f"{len(chosen)} of {len(found)} mutations", flush=True)
    with tempfile.TemporaryDirectory(prefix="reconciler-mutation-") as scratch:
        if not _unchanged_is_well(Path(scratch) / "0", {each.file for each in chosen}):
            return 1
        fates = dict(_fates(chosen, Path(scratch), given.workers, time.monotonic() + 60 * given.minutes))
    _report(fates, Counter(each.file for each in found))
    return 0


def _unchanged_is_well(folder: Path, files: set[str]) -> bool:
    for tests in {PLAYED, *(TESTS[file] for file in files)}:
        if noticed(copied(folder), tests):
            print(f"these tests fail without any mutation: {' '.join(tests)}", file=sys.stderr)
            return False
    return True


def _fates(chosen: list[Trial], scratch: Path, workers: int, until: float) -> Iterator[tuple[Trial, Fate]]:
    folders: Queue[Path] = Queue()
    for number in range(workers):
        folders.put(scratch / str(number))

    def tried(trial: Trial) -> Fate | None:
        if time.monotonic() > until:
            return None
        folder = folders.get()
        try:
            return fate(trial, folder)
        finally:
            folders.put(folder)

    with ThreadPoolExecutor(workers) as pool:
        asked = {pool.submit(tried, trial): trial for trial in chosen}
        for done in as_completed(asked):
            if (what := done.result()) is not None:
                print(f"{what}: {asked[done]}", flush=True)
                yield asked[done], what


def _report(fates: dict[Trial, Fate], there: Counter[str]) -> None:
    table = Table("module", "mutations", "tried", "caught", "survived")
    for file in sorted({each.file for each in fates}):
        tried = [what for trial, what in fates.items() if trial.file == file]
        lost = tried.count(Fate.SURVIVED)
        table.add_row(file, *map(str, (there[file], len(tried), len(tried) - lost, lost)))
    caught = sum(what is not Fate.SURVIVED for what in fates.values())
    Console(width=100).print(table)
    print(f"{caught} of {len(fates)} caught ({caught / max(1, len(fates)):.0%})")


if __name__ == "__main__":
    sys.exit(main())
