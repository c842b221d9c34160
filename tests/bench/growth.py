"""What one tick costs when there is more of everything: definitions, history, active tasks. Only what changed may count."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from definitions.sources.open import open_source
from reconciler import clock
from state.changes import Admitted, AttemptAdvanced, Change, Intended, StepAdvanced, TaskAdvanced
from state.phases import Signal
from state.records import AttemptRecord, Cause, Origin, Pin, TaskRecord, attempt_key, external_name, task_uid
from state.store import Store
from tests.bench.figures import Figure, median
from tests.bench.inside import Cost, Inside
from tests.bench.sample import job, line, repository, task, workflow

_POLL = "  until: result.ready\n  every: 10d\n"
_CAUSE = Cause("commit", "c0ffee", "Ada", "history")
_TICKS = 50


def growth(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """The median tick that takes one report and starts the step behind it, on three axes, each point in a new folder."""
    few = quick
    axes: tuple[tuple[str, Sequence[int], Callable[[int], dict[str, int]]], ...] = (
        ("definitions", (100, 1000) if few else (100, 1000, 10_000), lambda n: {"definitions": n}),
        ("finished tasks", (0, 1000) if few else (0, 10_000, 100_000), lambda n: {"history": n}),
        ("active tasks", (10, 100) if few else (10, 100, 1000, 5000), lambda n: {"active": n}),
    )
    for name, points, given in axes:
        found = [asyncio.run(_line(folder / f"{name}{point}", **given(point))) for point in points]
        yield _figure(name, points, found)
    yield from asyncio.run(_batches(folder / "batches", (1, 10, 100) if few else (1, 10, 100, 1000)))


def _figure(name: str, points: Sequence[int], found: Sequence[Sequence[Cost]]) -> Figure:
    cpu = [median(cost.cpu for cost in costs) for costs in found]
    wall = [median(cost.wall for cost in costs) for costs in found]
    texts = " / ".join(f"{value:.2f}" for value in cpu)
    walls = " / ".join(f"{value:.1f}" for value in wall)
    counts = " / ".join(f"{point:,}" for point in points)
    ratio = cpu[-1] / cpu[0]
    what = f"one step's tick with {counts} {name}"
    here = f"{texts} ms of a core ({walls} ms with fsync)"
    series = tuple(zip((f"{point:,}" for point in points), cpu, strict=True))
    return Figure(
        "growth", what, here, f"{cpu[0]:.2f} ms ({points[0]:,})", f"{ratio:.2f}", "flat, <= 1.25", ratio <= 1.25, series
    )


async def _line(folder: Path, definitions: int = 0, history: int = 0, active: int = 0) -> list[Cost]:
    """The ticks of one task of many steps in a line, when this much else is there."""
    files = {"ask.yaml": job("http://127.0.0.1:9"), "flow.yaml": workflow(line(_TICKS), "flow")}
    files["later.yaml"] = job("http://127.0.0.1:9", "later", _POLL).replace("name: ask", "name: later")
    files["wait.yaml"] = workflow(("step1",), "wait").replace("job: ask", "job: later")
    files |= {f"more/j{number}.yaml": _named(number) for number in range(definitions)}
    repo = repository(folder / "repo", files)
    _fill(folder / "state", history)
    source = open_source("main", str(repo.folder), None, ".", folder / "mirror", clock.now)
    inside = Inside(folder / "state", source)
    try:
        await inside.follower.look()
        await inside.settle()
        if active:
            repo.commit(**{f"w{number}": task(f"w{number}", "wait") for number in range(active)})
            await inside.follower.look()
            await inside.settle()
        repo.commit(line=task("line"))
        await inside.follower.look()
        return (await inside.settle())[5:-1]
    finally:
        await inside.close()


async def _batches(folder: Path, sizes: Sequence[int]) -> list[Figure]:
    """A tick in which this many tasks change at once."""
    files = {"ask.yaml": job("http://127.0.0.1:9"), "flow.yaml": workflow(line(12))}
    repo = repository(folder / "repo", files)
    source = open_source("main", str(repo.folder), None, ".", folder / "mirror", clock.now)
    inside, each = Inside(folder / "state", source), []
    try:
        await inside.follower.look()
        await inside.settle()
        for size in sizes:
            repo.commit(**{f"b{size}-{number}": task(f"b{size}-{number}") for number in range(size)})
            await inside.follower.look()
            costs = await inside.settle()
            each.append(median(cost.cpu for cost in costs[2:-2]) / size)
    finally:
        await inside.close()
    counts = " / ".join(f"{size:,}" for size in sizes)
    here = " / ".join(f"{cost:.2f}" for cost in each) + " ms of a core for each"
    ratio = each[-1] / each[1]
    series = tuple(zip((f"{size:,}" for size in sizes), each, strict=True))
    what, aim = f"a tick in which {counts} tasks change", "linear: <= 1.25 of 10"
    return [Figure("growth", what, here, f"{each[1]:.2f} ms (10)", f"{ratio:.2f}", aim, ratio <= 1.25, series)]


def _named(number: int) -> str:
    return job("http://127.0.0.1:9").replace("name: ask", f"name: job{number}")


def _fill(folder: Path, count: int) -> None:
    """`count` finished tasks of one step, through the store."""
    store = Store.open(folder)
    for first in range(0, count, 1000):
        changes = [change for number in range(first, min(first + 1000, count)) for change in _finished(number)]
        store.commit(changes, clock.now() - timedelta(days=1))
    store.close(keep_wal=False)


def _finished(number: int) -> Iterable[Change]:
    name, now = f"old{number}", clock.now() - timedelta(days=1)
    uid, origin = task_uid("main", "bench", name, 1), Origin("c0ffee", "old.yaml", "b10b", "Ada", "", "history")
    pin = Pin("Workflow", "default", "old", "d0", "{}", "c0ffee", "old.yaml")
    record = TaskRecord(uid, "main", "bench", name, 1, "Workflow", "old", origin, "d1", "d2", ("d0",), {}, now)
    key = attempt_key(uid, "step1", 1)
    attempt = AttemptRecord(
        uid, "step1", 1, key, external_name(key), "bench", "http", "old", {"url": "http://127.0.0.1:9/ask"}, {}, 1
    )
    result = {"age": 20}
    yield Admitted(record, (pin,), _CAUSE)
    yield TaskAdvanced(uid, Signal.START, _CAUSE)
    yield StepAdvanced(uid, "step1", Signal.START, _CAUSE)
    yield Intended(attempt, _CAUSE)
    yield AttemptAdvanced(uid, "step1", Signal.SUCCEED, _CAUSE, answered=1, answer=result, outputs=result, code=200)
    yield StepAdvanced(uid, "step1", Signal.SUCCEED, _CAUSE, outputs=result)
    yield TaskAdvanced(uid, Signal.SUCCEED, _CAUSE, outputs=result)
