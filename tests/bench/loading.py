"""What ten thousand definitions cost: to load them all, to load one of them again, and to find that nothing is new."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from definitions.library import build
from definitions.sources.open import open_source
from reconciler import clock
from reconciler.controller import DRIVERS
from tests.bench.figures import Figure, median
from tests.bench.inside import Counted, Inside
from tests.bench.running import running
from tests.bench.sample import DIAMOND, job, repository, task, workflow

_SUSPENDED = "control: {state: suspended, reason: only to be loaded}\n"
URL = "http://127.0.0.1:9"


def files(count: int) -> dict[str, str]:
    """`count` definitions, one a file: half jobs, the other half workflows of four steps, and 100 suspended tasks."""
    found = {"ask.yaml": job(URL), "flow.yaml": workflow(DIAMOND)}
    for number in range(100):
        found[f"tasks/t{number}.yaml"] = task(f"t{number}") + _SUSPENDED
    for number in range(count - len(found)):
        if number % 2:
            found[f"jobs/j{number}.yaml"] = job(URL).replace("name: ask", f"name: j{number}")
        else:
            found[f"flows/f{number}.yaml"] = workflow(DIAMOND, f"f{number}")
    return found


def cold(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """A new state folder: from the start of the process until the revision is in force and its 100 tasks are recorded."""
    count, rounds = (1000, 1) if quick else (10_000, 3)
    texts = files(count)
    repo = repository(folder / "repo", texts)
    tip, times, memories, bases = repo.git("rev-parse", "HEAD"), [], [], []
    for number in range(rounds):
        bases.append(_parsed_by_yaml(texts))
        began = time.monotonic()
        with running(repo.folder, folder / f"state{number}") as controller:
            controller.until_in_force(tip)
            times.append(time.monotonic() - began)
            memories.append(controller.memory)
    took, base, memory = median(times), median(bases), max(memories)
    what, named = f"{count:,} definitions from Git into a new state folder", f"{base:.2f} s (yaml.CSafeLoader alone)"
    yield Figure("cold", what, f"{took:.2f} s", named, f"{took / base:.2f}", "<= 6 s", took <= 6)
    yield Figure(
        "cold", "the most memory of that controller", f"{memory:.0f} MB", aim="<= 300 MB", reached=memory <= 300
    )


def _parsed_by_yaml(texts: dict[str, str]) -> float:
    began = time.monotonic()
    for text in texts.values():
        yaml.load(text, Loader=yaml.CSafeLoader)
    return time.monotonic() - began


def changed(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """One file of ten thousand is new: its tree listed, its bytes read, the library whole again."""
    count, rounds = (1000, 3) if quick else (10_000, 9)
    repo = repository(folder / "repo", files(count))
    source = Counted(open_source("main", str(repo.folder), None, ".", folder / "mirror", clock.now))
    began = time.perf_counter()
    library = build(source.tree(source.revision()), source.read, None, None, DRIVERS)
    whole, times, parses = time.perf_counter() - began, [], []
    for number in range(rounds):
        repo.commit(**{"jobs/j1": job(URL).replace("name: ask", f"name: j1, labels: {{round: r{number}}}")})
        revision, source.parses = source.revision(), 0
        began = time.perf_counter()
        library = build(source.tree(revision), source.read, library, None, DRIVERS)
        times.append((time.perf_counter() - began) * 1000)
        assert not library.problems, library.problems
        parses.append(source.parses)
    source.source.close()
    took, most = median(times), max(parses)
    yield Figure(
        *("changed", f"one changed file of {count:,}: tree, bytes, library", f"{took:.0f} ms, {most} parse"),
        *(
            f"{whole * 1000:.0f} ms (all of them)",
            f"{took / whole / 1000:.3f}",
            "1 parse, <= 50 ms",
            took <= 50 and most == 1,
        ),
    )


def nothing(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """A look at an unchanged source and the tick after it."""
    yield asyncio.run(_nothing(folder, 1000 if quick else 10_000))


async def _nothing(folder: Path, count: int) -> Figure:
    repo = repository(folder / "repo", files(count))
    source = open_source("main", str(repo.folder), None, ".", folder / "mirror", clock.now)
    inside = Inside(folder / "state", source)
    try:
        began = time.perf_counter()
        await inside.follower.look()
        await inside.settle()
        whole = (time.perf_counter() - began) * 1000
        inside.source.parses = 0
        began = time.perf_counter()
        await inside.follower.look()
        looked = (time.perf_counter() - began) * 1000
        costs = [await inside.tick() for _ in range(100)]
    finally:
        await inside.close()
    rows, took = sum(cost.rows for cost in costs), median(cost.wall for cost in costs)
    here = f"{inside.source.parses} parses, {rows} rows, {took:.2f} ms (and {looked:.0f} ms to look at the source)"
    what, aim = f"a tick without news over {count:,} definitions", "0 parses, 0 writes"
    reached = not inside.source.parses and not rows
    return Figure("nothing", what, here, f"{whole:.0f} ms (the first one)", f"{took / whole:.5f}", aim, reached)
