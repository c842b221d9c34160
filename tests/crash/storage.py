"""`make storage`: a campaign of failing disks, spoiled files and backups; exit code 1 if anything broke."""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median

from state.backup import Copy, backup, restore
from state.inspection import inspect
from state.phases import TaskPhase
from state.store import Store
from tests.arguments import whole
from tests.controllers import Controller
from tests.crash.busy import Busy, most
from tests.crash.campaign import strace_works
from tests.crash.disks import (
    NEVER,
    killed_state,
    outgrown,
    put_back,
    recovered,
    second_controller,
    settled,
    small_disk,
    spoiled,
    under_fault,
)
from tests.crash.oracle import tasks_in
from tests.crash.world import World

FAULTS = ("pwrite64:error=ENOSPC", "pwrite64:error=EIO", "fdatasync:error=EIO", "fdatasync:error=ENOSPC")


def main() -> int:
    """Everything, in worlds of their own; prints what happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.storage", description=__doc__)
    parser.add_argument("--flips", type=whole(0), default=500, help="bits flipped")
    parser.add_argument("--cuts", type=whole(0), default=100, help="files cut")
    parser.add_argument("--points", type=whole(0), default=10, help="places of each failing system call")
    parser.add_argument("--pairs", type=whole(0), default=20, help="second controllers")
    parser.add_argument("--disks", type=whole(0), default=5, help="file systems of 1 MB that fill and grow")
    parser.add_argument("--backups", type=whole(0), default=5, help="backups of a busy controller that are restored")
    parser.add_argument("--copies", type=whole(0), default=50, help="backups beside a store that commits all the time")
    given = parser.parse_args()
    if not any(vars(given).values()):
        parser.error("there is nothing to do: every number is 0")
    parts = (
        _damage(given.flips, given.cuts),
        _faults(given.points),
        _disks(given.disks),
        _pairs(given.pairs),
        _copies(given.copies),
        _backups(given.backups),
    )
    broken = 0
    try:
        for line in chain.from_iterable(parts):
            broken += 1
            print(f"VIOLATION {line}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {broken} violations")
        return 130
    print(f"{broken} violations")
    return int(bool(broken))


@contextmanager
def _world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="reconciler-storage-") as folder, World(Path(folder)) as world:
        yield world


def _damage(flips: int, cuts: int) -> Iterator[str]:
    with _world() as world:
        scratch = world.state.parent
        found = spoiled(killed_state(world), scratch / "killed", flips // 2, cuts // 2)
        found += spoiled(settled(world.state), scratch / "settled", flips - flips // 2, cuts - cuts // 2)
    for kind, count in Counter(
        (each.file, "cut" if each.cut else "flip", str(what)) for each, what, _ in found
    ).items():
        print(f"{count:5} {' '.join(kind)}")
    yield from (f"{case}: {outcome} {said}" for case, outcome, said in found if outcome in NEVER)


def _faults(points: int) -> Iterator[str]:
    if not strace_works():
        print("skipped: failing system calls need strace (apt install strace)", file=sys.stderr)
        return
    for fault in FAULTS:
        codes: Counter[int] = Counter()
        for number in range(points):
            when = f"{3 + 7 * number}..{3 + 7 * number + 5}"
            with _world() as world:
                code, _ = under_fault(world, fault, when)
                codes[code] += 1
                yield from (f"{fault} {when}: {line}" for line in recovered(world))
        print(f"{points:5} {fault}: exit codes {dict(codes)}", flush=True)


def _disks(count: int) -> Iterator[str]:
    """A file system of 1 MB is full after a task or two; when it grows, the work goes on."""
    try:
        for number in range(count):
            with _world() as world, small_disk(world.state.parent / "small", "1m") as disk:
                yield from (f"small disk {number}: {line}" for line in outgrown(world, disk))
    except PermissionError as error:
        print(f"skipped: small file systems: {error}", file=sys.stderr)
        return
    print(f"{count:5} file systems of 1 MB that grew", flush=True)


def _pairs(count: int) -> Iterator[str]:
    longest = 0.0
    with _world() as world, Controller(world.repository.folder, world.state) as first:
        first.started()
        for _ in range(count):
            seconds, code, said = second_controller(world)
            longest = max(longest, seconds)
            if not code or "another controller" not in said:
                yield f"a second controller: {seconds:.2f} s, code {code}: {said}"
    print(f"{count:5} second controllers, ended within {longest:.1f} s of their start", flush=True)


def _copies(count: int) -> Iterator[str]:
    """Each copy of a database that changes all the time is whole, of one moment, and held once it is restored."""
    rates = [0.0]
    with tempfile.TemporaryDirectory(prefix="reconciler-copies-") as name, Busy(Path(name) / "state") as writer:
        folder = Path(name)
        for number in range(count):
            copy, rate = writer.during(partial(backup, folder / "state", folder / f"copy{number}.db"))
            rates.append(rate)
            yield from (f"copy {number}: {line}" for line in _not_as_copied(copy, folder / f"state{number}"))
        bare = most(folder)
    beside = f"beside {median(rates[1:] or rates):.0f} commits a second (the median; SQLite alone: {bare:.0f})"
    print(f"{count:5} copies {beside}", flush=True)


def _not_as_copied(copy: Copy, state: Path) -> Iterator[str]:
    if restore(copy.path, state).sequence != copy.sequence:
        yield "of no one moment"
    yield from map(str, inspect(state))
    store = Store.open(state)
    if not store.held:
        yield "not held"
    store.close(keep_wal=False)


def _backups(count: int) -> Iterator[str]:
    """A controller that is backed up in the middle, goes on, and is put back: nothing happens a second time."""
    lost = 0
    for number in range(count):
        with _world() as world:
            yield from (f"backup {number}: {line}" for line in put_back(world, random.Random(f"backup {number}")))
            lost += sum(each.record.phase is TaskPhase.FAILED for each in tasks_in(world.state).values())
    print(f"{count:5} backups put back and adopted, {lost} tasks lost for a person to decide", flush=True)


if __name__ == "__main__":
    sys.exit(main())
