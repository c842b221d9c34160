"""What it costs to wait, and to come back: many polls between two calls, and many calls in flight when the power goes."""

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bare import bare_calls
from tests.bench.figures import Figure
from tests.bench.running import PATIENCE, Measured, running
from tests.bench.sample import job, repository, task, workflow
from tests.bench.target import Target

_POLL = "  until: result.ready\n  every: 1h\n"
_WIDE = {"RECONCILER_DISPATCH_TOTAL": "1000", "RECONCILER_DISPATCH_PER_NAMESPACE": "1000"}


def polls(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Steps that have been called and wait an hour for their next call; the API process runs and nobody reads."""
    count, seconds = (200, 5) if quick else (10_000, 30)
    with Target() as target:
        files = {"job.yaml": job(target.url, "later", _POLL), "flow.yaml": workflow(("step1",))}
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "empty") as idle:
            idle.until_in_force(repo.git("rev-parse", "HEAD"))
            base_share, base_memory = _share(idle, seconds / 2), idle.memory
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            repo.commit(**{f"tasks/p{number}": task(f"p{number}") for number in range(count)})
            target.wait(count, PATIENCE)
            time.sleep(2)
            share, memory = _share(controller, seconds), controller.memory
    what = f"{count:,} steps wait for their next poll"
    yield Figure(
        *("polls", what, f"{share:.1%} of a core", f"{base_share:.1%} (no task at all)"),
        *(f"{share / max(base_share, 0.0001):.1f}", "<= 3 %", share <= 0.03),
    )
    ratio = f"{memory / base_memory:.2f}"
    where = f"{memory:.0f} MB at its most"
    yield Figure("polls", what, where, f"{base_memory:.0f} MB (no task at all)", ratio, "<= 250 MB", memory <= 250)


def _share(controller: Measured, seconds: float) -> float:
    before, began = controller.cpu_seconds, time.monotonic()
    time.sleep(seconds)
    return (controller.cpu_seconds - before) / (time.monotonic() - began)


def recovery(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """SIGKILL with calls in flight; from the next start until each of them was sent again, under its old key."""
    count = 50 if quick else 1000
    with Target() as target:
        files = {"job.yaml": job(target.url, "never"), "flow.yaml": workflow(("step1",))}
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "state", env=_WIDE) as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            repo.commit(**{f"tasks/r{number}": task(f"r{number}") for number in range(count)})
            target.wait(count, PATIENCE)
            controller.kill()
        target.take()
        began = time.monotonic()
        with running(repo.folder, folder / "state", env=_WIDE) as controller:
            target.wait(count, PATIENCE)
            took = max(each.asked for each in target.take()) - began
        began = time.monotonic()
        bare_calls(target.url, count, ("step1",), count)
        base = time.monotonic() - began
    what = f"{count:,} tasks in flight, killed: start -> the last of them sent again"
    yield Figure(
        "recovery",
        what,
        f"{took:.2f} s",
        f"{base:.2f} s ({count:,} bare calls)",
        f"{took / base:.2f}",
        "<= 3 s",
        took <= 3,
    )
