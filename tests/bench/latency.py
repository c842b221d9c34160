"""How long it takes until something that may start is started, as the target sees it."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.bench.figures import Figure, percentile
from tests.bench.running import Measured, running
from tests.bench.sample import DIAMOND, job, line, repository, task, workflow
from tests.bench.target import Arrival, Target
from tests.repositories import Repository


def successor(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """From the answer to a step to the request of the one behind it: its answer is durable before that leaves."""
    length, rounds = (10, 2) if quick else (50, 6)
    with Target() as target:
        files = {"job.yaml": job(target.url), "flow.yaml": workflow(line(length))}
        files["diamond.yaml"] = workflow(DIAMOND, "diamond")
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            for together in (1, 4):
                gaps = [
                    gap
                    for number in range(rounds)
                    for gap in _gaps(_round(target, repo, f"l{together}-{number}-", together, length))
                ]
                yield _figure(f"{together} at a time, {length} steps in a line", gaps[together:], aim=20.0)
            tasks = 20 if quick else 100
            arrivals = _round(target, repo, "d", tasks, 4, "diamond")
            yield _figure(f"{tasks} x [1, [2, 3], 4] at a time: every call waits for a core", _gaps(arrivals))


def _round(
    target: Target, repo: Repository, prefix: str, tasks: int, length: int, flow: str = "flow"
) -> Sequence[Arrival]:
    target.take()
    repo.commit(**{f"{prefix}{number}": task(f"{prefix}{number}", flow) for number in range(tasks)})
    target.wait(tasks * length)
    return target.take()


def _gaps(arrivals: Sequence[Arrival]) -> list[float]:
    """Milliseconds between the answer to a step and the request of the next, over all tasks."""
    by_task: dict[str, list[Arrival]] = {}
    for each in arrivals:
        by_task.setdefault(each.query["task"], []).append(each)
    return [
        (later.asked - earlier.answered) * 1000
        for found in by_task.values()
        for earlier, later in pairwise(found)
        if later.asked >= earlier.answered
    ]


def _figure(what: str, gaps: Sequence[float], aim: float | None = None) -> Figure:
    half, worst = percentile(gaps, 0.5), percentile(gaps, 0.99)
    here = f"p50 {half:.1f} ms, p99 {worst:.1f} ms"
    if aim is None:
        return Figure("successor", what, here)
    return Figure("successor", what, here, aim=f"p99 <= {aim:.0f} ms", reached=worst <= aim)


def commit(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """From a commit to the first request that it causes, beside a bare `git fetch` of one commit."""
    rounds = 3 if quick else 15
    with Target() as target:
        repo = repository(folder / "repo", {"job.yaml": job(target.url), "flow.yaml": workflow(("step1",))})
        repo.git("clone", "--quiet", "--bare", str(repo.folder), str(folder / "bare"))
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            delays = [_delay(target, repo, controller, number) for number in range(rounds + 1)][1:]
        fetches = [_fetch(repo, folder / "bare", number) for number in range(rounds)]
    half, base = percentile(delays, 0.5), percentile(fetches, 0.5)
    here = f"p50 {half:.0f} ms, worst {max(delays):.0f} ms"
    what = "commit -> first dispatch (its ref written -> request at the target)"
    yield Figure(
        "commit", what, here, f"{base:.0f} ms (git fetch)", f"{half / base:.2f}", "p50 <= 150 ms", half <= 150.0
    )


def _delay(target: Target, repo: Repository, controller: Measured, number: int) -> float:
    """Milliseconds from the moment that the branch moves."""
    target.take()
    time.sleep(0.3)  # a commit out of the blue, not one behind another
    repo.commit(**{f"c{number}": task(f"c{number}")})
    moved = (repo.folder / ".git" / "refs" / "heads" / "main").stat().st_mtime
    target.wait(1)
    since_boot = time.time() - time.monotonic()
    controller.until_over()
    return (target.take()[0].asked + since_boot - moved) * 1000


def _fetch(repo: Repository, bare: Path, number: int) -> float:
    repo.commit(**{f"f{number}": task(f"c{number}")})
    began = time.monotonic()
    repo.git("-C", str(bare), "fetch", "--quiet", str(repo.folder), "+refs/heads/*:refs/heads/*")
    return (time.monotonic() - began) * 1000
