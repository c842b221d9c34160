"""`python -m tests.crash --kills N`: a campaign of kills, and what it came to. The exit code is 1 if anything broke."""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from tests.crash.campaign import Campaign, strace_works
from tests.crash.oracle import Tally
from tests.crash.world import World

ROUND = 20
"""Kills in one world; the next ones come to a new one, so that the look at a world stays short."""

Part = Callable[[Campaign], None]


def main() -> int:
    """Run the parts one after the other, print each moment and in the end the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="kills at random moments")
    parser.add_argument("--points", type=int, default=40, help="system calls to be killed at; 0 is all of them")
    parser.add_argument("--stop", type=float, default=30.0, help="seconds that a controller is stopped for")
    parser.add_argument("--seed", type=int, default=1, help="names the campaign")
    given = parser.parse_args()
    total = Tally()
    for name, part in _parts(given):
        tally = _in_a_world(name, part, random.Random(f"{given.seed} {name}"))
        for each in fields(Tally):
            setattr(total, each.name, getattr(total, each.name) + getattr(tally, each.name))
        print(f"== {name}: {tally}", flush=True)
    print(f"\n{total}")
    for violation in total.violations:
        print(f"VIOLATION {violation}")
    return int(bool(total.violations))


def _parts(given: argparse.Namespace) -> Iterator[tuple[str, Part]]:
    for first in range(0, given.kills, ROUND):
        count = min(ROUND, given.kills - first)
        yield f"random moments {first + 1}-{first + count}", _repeated(Campaign.kill_at_random, count)
    yield "kills during recovery", _repeated(Campaign.kill_during_recovery, max(1, given.kills // 10))
    yield "a kill 1 s after each start", Campaign.kill_each_start
    yield "SIGTERM", _repeated(Campaign.terminate, max(1, given.kills // 10))
    yield "SIGSTOP and SIGCONT", lambda campaign: campaign.stop_and_continue(given.stop)
    if strace_works():
        yield "system calls", lambda campaign: _syscalls(campaign, given.points)
        yield "a failing disk", lambda campaign: _failing(campaign, given.points)
    else:
        print("skipped: kills at chosen system calls need strace (apt install strace)", file=sys.stderr)


def _repeated(act: Part, count: int) -> Part:
    def part(campaign: Campaign) -> None:
        for _ in range(count):
            act(campaign)

    return part


def _syscalls(campaign: Campaign, limit: int) -> None:
    points = campaign.syscall_points()
    chosen = points if not limit else campaign.chance.sample(points, min(limit, len(points)))
    print(f"   {len(chosen)} of {len(points)} points", flush=True)
    for name, number in sorted(chosen):
        campaign.kill_at_syscall(name, number)


def _failing(campaign: Campaign, limit: int) -> None:
    writes = [point for point in campaign.syscall_points() if point[0] in {"pwrite64", "fdatasync"}]
    for name, number in sorted(campaign.chance.sample(writes, min(limit // 4 or len(writes), len(writes)))):
        campaign.fail_at_syscall(name, number, campaign.chance.choice(("ENOSPC", "EIO")))


def _in_a_world(name: str, part: Part, chance: random.Random) -> Tally:
    with tempfile.TemporaryDirectory(prefix="reconciler-crash-") as folder, World(Path(folder)) as world:
        campaign = Campaign(world, chance, lambda text: print(f"   {name}: {text}", flush=True))
        part(campaign)
        return campaign.tally


if __name__ == "__main__":
    sys.exit(main())
