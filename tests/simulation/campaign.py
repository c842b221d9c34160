"""Many cases, counted: what failed, how fast it went, and whether everything that must sometimes happen did.

A campaign that never reached a crash point or a recovery path proves nothing about it, so it counts as failed.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TypeVar

from tests.arguments import again
from tests.simulation.canonical import CASES
from tests.simulation.case import Case
from tests.simulation.generate import generate
from tests.simulation.play import Outcome, play
from tests.simulation.sometimes import SOMETIMES
from tests.workers import crew

T = TypeVar("T")
CHUNK = 25
CHUNKS = 16
"""A worker plays so many and makes room for a fresh one: what it remembers of worlds that are gone made it slow."""
LARGE, LEAST = 20_000, 100
"""In a campaign of so many seeds everything that must sometimes happen does so at least so many times."""


@dataclass
class Tally:
    """What a campaign came to. `failed`: case and violation."""

    played: int = 0
    turns: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[Case, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another part of the same campaign."""
        self.played += other.played
        self.turns += other.turns
        self.reached.update(other.reached)
        self.failed += other.failed

    @property
    def missing(self) -> list[str]:
        """What has not happened as often as it should have: never, or in a large campaign too seldom."""
        least = LEAST if self.played >= LARGE else 1
        return sorted(name for name in SOMETIMES if self.reached[name] < least)


def play_all(cases: Iterable[Case]) -> Tally:
    """Play cases one after the other."""
    tally = Tally()
    with _settled():
        for case in cases:
            outcome = play(case)
            tally.played += 1
            tally.turns += outcome.points
            tally.reached.update(outcome.reached)
            if outcome.violation:
                tally.failed.append((case, outcome.violation))
    return tally


@contextmanager
def _settled() -> Iterator[None]:
    """What is loaded is no garbage: looking through it again and again took a tenth of the time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def replaying(what: object) -> str:
    """The command that shows the history of a seed or of a file again."""
    return again("tests.simulation", "replay", what)


def play_seeds(seeds: range) -> Tally:
    """Play the cases of these seeds."""
    return play_all(map(generate, seeds))


def campaign(start: int, count: int, workers: int, told: Callable[[Tally], None]) -> Tally:
    """Play `count` seeds from `start` on in `workers` processes; `told` hears the sum after every part."""
    parts = [range(first, min(first + CHUNK, start + count)) for first in range(start, start + count, CHUNK)]
    return _spread(play_seeds, parts, workers, told)


def single_crashes(name: str) -> Iterator[tuple[Case, Outcome, Outcome]]:
    """A canonical workflow crashed at each of its yield points: (case, its outcome, the outcome without a crash)."""
    case = CASES[name]
    calm = play(case)
    for point in range(1, calm.points + 1):
        crashed = _crashed(case, point)
        yield crashed, play(crashed), calm


def crash_pairs(name: str, workers: int, told: Callable[[Tally], None]) -> Tally:
    """A canonical workflow crashed at every two of its yield points, in `workers` processes."""
    firsts = range(1, play(CASES[name]).points + 1)
    return _spread(play_pairs, [(name, first) for first in firsts], workers, told)


def play_pairs(where: tuple[str, int]) -> Tally:
    """The canonical workflow crashed at one yield point, and at each one after it up to the end of its recovery."""
    name, first = where
    recovered = play(_crashed(CASES[name], first)).points
    return play_all(_crashed(CASES[name], first, second) for second in range(first + 1, recovered + 1))


def _spread(part: Callable[[T], Tally], over: Iterable[T], workers: int, told: Callable[[Tally], None]) -> Tally:
    total, context = Tally(), get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with crew(context, workers, tasks=CHUNKS) as pool:
        for tally in pool.imap(part, over):
            total.add(tally)
            told(total)
    return total


def _crashed(case: Case, *points: int) -> Case:
    return Case(case.seed, case.flows, case.operations, crash_at=points, note="crashed on purpose")
