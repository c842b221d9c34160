"""How fast steps go through the whole controller, beside the same calls made by httpx alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bare import bare_calls, floor_calls
from tests.bench.figures import Figure, median
from tests.bench.running import Measured, running
from tests.bench.sample import DIAMOND, job, line, repository, task, workflow
from tests.bench.target import Arrival, Target
from tests.repositories import Repository

_CONCURRENCY = 64
"""Calls at a time, the controller's default (`dispatch.total`), for both sides."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round: the same calls by each side, and the tasks from admission to the last one's end."""

    bare: float
    helped: float
    ours: float
    tasks: float


def steps(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """100 x `[1, [2, 3], 4]`, each round beside a bare loop: steps per second from the first call to the last answer."""
    tasks, rounds = (20, 2) if quick else (100, 9)
    with Target() as target:
        files = {"job.yaml": job(target.url), "flow.yaml": workflow(DIAMOND)}
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            found = [_round(target, repo, controller, tasks, number) for number in range(rounds + 2)][2:]
    count = tasks * 4
    bare, helped = (count / median(getattr(each, side) for each in found) for side in ("bare", "helped"))
    calls, whole = (count / median(getattr(each, side) for each in found) for side in ("ours", "tasks"))
    against = median(each.bare / each.ours for each in found)
    what, named = f"{tasks} x [1, [2, 3], 4], first call to last answer", f"{bare:.0f} (bare httpx)"
    yield Figure("steps", what, f"{calls:.0f} steps/s", named, f"{against:.2f}", ">= 0.70", against >= 0.7)
    against = median(each.bare / each.tasks for each in found)
    what = "the same, admission to the last task recorded as finished"
    yield Figure("steps", what, f"{whole:.0f} steps/s", named, f"{against:.2f}", ">= 0.60", against >= 0.6)
    against = median(each.helped / each.ours for each in found)
    named = f"{helped:.0f} (bare httpx without its failing import)"
    yield Figure("steps", "as the first line", f"{calls:.0f} steps/s", named, f"{against:.2f}")


def _round(target: Target, repo: Repository, controller: Measured, tasks: int, number: int) -> Round:
    bare_calls(target.url, tasks, DIAMOND, _CONCURRENCY)
    bare = _span(target.take())
    bare_calls(target.url, tasks, DIAMOND, _CONCURRENCY, helped=True)
    helped = _span(target.take())
    repo.commit(**{f"round{number}/t{each}": task(f"r{number}-t{each}") for each in range(tasks)})
    target.wait(tasks * 4)
    controller.until_over()
    ours = _span(target.take())
    mine = [each for each in controller.tasks() if each.name.startswith(f"r{number}-")]
    assert len(mine) == tasks
    assert all(each.finished_at for each in mine)
    ended = max(each.finished_at for each in mine if each.finished_at) - min(each.created_at for each in mine)
    return Round(bare, helped, ours, ended.total_seconds())


def sequence(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """40 steps one after the other, beside 40 calls with one durable SQLite commit each, written by hand."""
    length, rounds = (10, 2) if quick else (40, 9)
    with Target() as target:
        files = {"job.yaml": job(target.url), "flow.yaml": workflow(line(length))}
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            pairs = []
            for number in range(rounds + 1):
                floor_calls(target.url, folder / "floor", length)
                floor = _span(target.take())
                repo.commit(**{f"line{number}": task(f"line{number}")})
                target.wait(length)
                pairs.append((_span(target.take()), floor))
    ours, floor = (median(pair[side] for pair in pairs[1:]) for side in (0, 1))
    ratio = median(pair[0] / pair[1] for pair in pairs[1:])
    what = f"{length} steps one after the other"
    here, base = f"{ours / length * 1000:.1f} ms a step", f"{floor / length * 1000:.1f} ms (SQLite FULL + httpx)"
    yield Figure("sequence", what, here, base, f"{ratio:.2f}", "<= 1.70", ratio <= 1.7)


def _span(arrivals: Sequence[Arrival]) -> float:
    """Seconds from the first request to the last answer, as the target saw them."""
    return max(each.answered for each in arrivals) - min(each.asked for each in arrivals)
