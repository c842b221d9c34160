"""How fast the API answers while a thousand tasks run, and whether its readers slow the loop."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from reconciler.api.answers import FRESH_SECONDS
from tests.bench.figures import Figure, median, percentile
from tests.bench.running import PATIENCE, cpu_seconds, running
from tests.bench.sample import job, line, repository, task, workflow
from tests.bench.target import Arrival, Target
from tests.repositories import Repository

_POLL = "  until: result.ready\n  every: 10s\n"
_STALE = FRESH_SECONDS + 0.05
_LIST, _STATUS = "/api/v1/tasks?limit=50", "/api/v1/tasks/bench/big"


@dataclass(slots=True)
class Load:
    """What some readers met: milliseconds of each answer, bytes of the last, and how long it all took."""

    times: list[float] = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds


def api(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Readers on keep-alive connections; each figure beside the same bytes from a bare uvicorn route."""
    tasks, steps, seconds = (50, 50, 1.0) if quick else (1000, 500, 5.0)
    with Target() as target:
        files = {"ask.yaml": job(target.url), "flow.yaml": workflow(line(steps), "big")}
        files["later.yaml"] = job(target.url, "later", _POLL).replace("name: ask", "name: later")
        files["wait.yaml"] = workflow(("step1",), "wait").replace("job: ask", "job: later")
        files["short.yaml"] = workflow(line(20), "short")
        repo = repository(folder / "repo", files)
        with running(repo.folder, folder / "state") as controller:
            controller.until_in_force(repo.git("rev-parse", "HEAD"))
            repo.commit(big=task("big", "big"))
            target.wait(steps, 60.0)
            controller.until_over()
            target.take()
            address, reader = controller.api["address"], controller.api["pid"]
            one = load(address, _STATUS, 1, seconds)
            used = cpu_seconds(reader)
            anew = load(address, _STATUS, 1, 4 * seconds, every=_STALE)
            each = (cpu_seconds(reader) - used) * 1000 / len(anew.times)
            repo.commit(**{f"tasks/w{number}": task(f"w{number}", "wait") for number in range(tasks)})
            target.wait(tasks, PATIENCE)
            time.sleep(1)
            beside = load(address, _STATUS, 1, 4 * seconds, every=_STALE)
            many = load(address, _LIST, 8, seconds)
            bare_one, bare_many = _bare(one.body, 1, seconds), _bare(many.body, 8, seconds)
            slower = _slowed(target, repo, address, 2 if quick else 20)
    base = percentile(bare_one.times, 0.99)
    yield _status(f"status of a {steps}-step task ({len(one.body) // 1024} KiB), one reader", one, base, aim=10)
    what = f"the same, asked every {_STALE:g} s: no answer of before is used"
    yield _status(what, anew, base, f"; {each:.1f} ms of a core", aim=10)
    yield _status(f"as the second line, beside {tasks:,} tasks whose polls come together", beside, base)
    what = f"list of 50 while {tasks:,} tasks run, 8 readers"
    here = f"{many.rate:.0f} requests/s, p99 {percentile(many.times, 0.99):.1f} ms"
    named = f"{bare_many.rate:.0f} (the same bytes, bare uvicorn)"
    yield Figure("api", what, here, named, f"{many.rate / bare_many.rate:.2f}", ">= 1,500/s", many.rate >= 1500)
    yield slower


def _status(what: str, met: Load, base: float, cost: str = "", *, aim: float | None = None) -> Figure:
    """What one reader of a status met, beside the worst `base` (ms) of a bare server."""
    worst = percentile(met.times, 0.99)
    here = f"p50 {median(met.times):.1f} ms, p99 {worst:.1f} ms{cost}"
    named = f"p99 {base:.1f} ms (the same bytes, bare uvicorn)"
    figure = Figure("api", what, here, named, f"{worst / base:.1f}")
    return replace(figure, aim=f"p99 <= {aim:g} ms", reached=worst <= aim) if aim else figure


def _slowed(target: Target, repo: Repository, address: str, pairs: int) -> Figure:
    """A line of steps with and without readers at 200 requests per second, in pairs whose order changes.

    The median of the pairs' own ratios says most on a machine that others use, too: both lines of a pair meet the same.
    """
    alone: list[float] = []
    beside: list[float] = []
    with _Readers(address) as readers:
        for number in range(2 * pairs):
            reading = number % 4 in {1, 2}
            with readers.reading() if reading else nullcontext():
                (beside if reading else alone).append(_line(target, repo, f"s{number}"))
    ratios = [there / base for base, there in zip(alone, beside, strict=True)]
    ratio = median(ratios)
    what = f"one step in a line beside 200 list requests/s, {pairs} pairs in turn"
    here, named = f"{median(beside):.1f} ms", f"{median(alone):.1f} ms (nobody reads)"
    spread = f"{ratio:.2f}, half of them {percentile(ratios, 0.25):.2f}-{percentile(ratios, 0.75):.2f}"
    return Figure("api", what, here, named, spread, "<= 1.10", ratio <= 1.1)


def _line(target: Target, repo: Repository, name: str) -> float:
    """The median milliseconds between two steps of a line."""
    target.take()
    repo.commit(**{name: task(name, "short")})
    found: list[Arrival] = []
    while len(found) < 20:
        time.sleep(0.05)
        found += [each for each in target.take() if each.query["task"] == name]
    return median((later.asked - earlier.answered) * 1000 for earlier, later in pairwise(found))


class _Readers:
    """Readers in a process of their own, which stands still unless it is told to read."""

    def __init__(self, address: str) -> None:
        self._command = [sys.executable, "-m", "tests.bench.reading", address]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command)
        time.sleep(1)
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """They read."""
        self._process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        try:
            yield
        finally:
            assert self._process.poll() is None, "the readers have ended"
            self._process.send_signal(signal.SIGSTOP)


def load(address: str, path: str, readers: int, seconds: float, every: float = 0.0) -> Load:
    """`readers` connections that ask for `path` one answer after the other, or each of them every so many seconds."""
    found = Load()
    began = time.monotonic()
    asyncio.run(_load(found, address, path, readers, began + seconds, every))
    found.seconds = time.monotonic() - began
    return found


async def _load(found: Load, address: str, path: str, readers: int, until: float, every: float) -> None:
    await asyncio.gather(*(_reader(found, address, path, until, every) for _ in range(readers)))


async def _reader(found: Load, address: str, path: str, until: float, every: float) -> None:
    where = urlsplit(address)
    source, sink = await asyncio.open_connection(where.hostname, where.port, limit=1 << 24)
    asked = f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    try:
        while (began := time.monotonic()) < until:
            sink.write(asked)
            head = (await source.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            found.body = await source.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            found.times.append((time.monotonic() - began) * 1000)
            if every:
                await asyncio.sleep(every)
    finally:
        sink.close()


_BARE = """
import asyncio, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from reconciler.api.serve import bind
body = sys.stdin.buffer.read()
async def answer(request):
    return Response(body, media_type="application/json")
listener = bind("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(Starlette(routes=[Route("/", answer)]), log_level="error", access_log=False, ws="none")
uvicorn.Server(config).run(sockets=[listener])
"""


def _bare(body: bytes, readers: int, seconds: float) -> Load:
    """The same load on an application that only has these bytes to give."""
    process = subprocess.Popen([sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(body)
        process.stdin.close()
        port = int(process.stdout.readline())
        time.sleep(1)
        return load(f"http://127.0.0.1:{port}", "/", readers, seconds)
    finally:
        process.kill()
        process.wait()


def main(arguments: Sequence[str]) -> None:
    """Readers that together ask for the list 200 times a second, until they are ended."""
    load(arguments[0], _LIST, 4, 3600, every=0.02)


if __name__ == "__main__":
    main(sys.argv[1:])
