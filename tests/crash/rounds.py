"""The rounds of a campaign of kills: each in a world of its own, named, so that one can be played again alone."""

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.crash.campaign import Campaign, Point, strace_works
from tests.crash.oracle import Tally
from tests.crash.world import World

ROUND = 20
"""Kills in one world; the next ones come to a new one, so that the look at a world stays short."""
POINTS = 10
"""System calls in one world: each is a start under strace."""
EACH_START, AT_CALLS, AT_RANDOM, IN_RECOVERY = KILLING = (
    "a kill 1 s after each start",
    "system calls",
    "random moment",
    "kills during recovery",
)
"""The kinds of rounds whose ends are kills."""

Found = TypeVar("Found")
Part = Callable[[Campaign], None]


@dataclass(frozen=True)
class Round:
    """What happens in one world: the kind of end, which round of it this is, and the ends themselves."""

    kind: str
    number: int
    part: Part

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


def rounds(kills: int, points: int, stop: float, seed: int) -> Iterator[Round]:
    """Every round of the campaign, the longest first."""
    share = max(1, kills // 10)
    yield Round("SIGSTOP and SIGCONT", 1, partial(Campaign.stop_and_continue, seconds=stop))
    if strace_works():
        yield from _at_system_calls(points, random.Random(f"{seed} points"))
    elif os.environ.get("CI") == "true":
        raise SystemExit("kills at chosen system calls need a strace that may trace: install it, allow ptrace")
    else:
        print("skipped: kills at chosen system calls need strace (apt install strace)", file=sys.stderr)
    yield Round(EACH_START, 1, Campaign.kill_each_start)
    for kind, act, count in (
        (AT_RANDOM, Campaign.kill_at_random, kills),
        (IN_RECOVERY, Campaign.kill_during_recovery, share),
        ("SIGTERM", Campaign.terminate, share),
    ):
        for number, first in enumerate(range(0, count, ROUND), 1):
            yield Round(kind, number, partial(_repeated, act, min(ROUND, count - first)))


def _at_system_calls(limit: int, chance: random.Random) -> Iterator[Round]:
    points = _in_a_world("counting", chance, Campaign.syscall_points)
    chosen = sorted(points if not limit else chance.sample(points, min(limit, len(points))))
    print(f"{len(chosen)} of {len(points)} system calls to be killed at", flush=True)
    writes = [point for point in points if point.call in {"pwrite64", "fdatasync"}]
    refused = sorted(chance.sample(writes, min(limit // 4 or len(writes), len(writes))))
    for kind, act, places in (
        (AT_CALLS, Campaign.kill_at_syscall, chosen),
        ("a failing disk", Campaign.fail_at_syscall, refused),
    ):
        for number, first in enumerate(range(0, len(places), POINTS), 1):
            yield Round(kind, number, partial(_at_each, act, places[first : first + POINTS]))


def _repeated(act: Part, count: int, campaign: Campaign) -> None:
    for _ in range(count):
        act(campaign)


def _at_each(act: Callable[[Campaign, Point], object], points: Sequence[Point], campaign: Campaign) -> None:
    for point in points:
        act(campaign, point)


def played(seed: int, wanted: Round) -> tuple[Round, Tally]:
    def play(campaign: Campaign) -> Tally:
        wanted.part(campaign)
        return campaign.tally

    return wanted, _in_a_world(str(wanted), random.Random(f"{seed} {wanted}"), play)


def _in_a_world(name: str, chance: random.Random, play: Callable[[Campaign], Found]) -> Found:
    with tempfile.TemporaryDirectory(prefix="reconciler-crash-") as folder, World(Path(folder)) as world:
        return play(Campaign(world, chance, lambda text: print(f"   {name}: {text}", flush=True)))
