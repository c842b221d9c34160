"""Commands in containers by the driver, against a bare loop over the docker package, and memory while 1 GB streams.

Needs DOCKER_HOST. The receipts are removed meanwhile, as the loop would; times end with the last result.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.protocol import Ended, Running
from tests.bench.figures import Figure
from tests.calls import make_call
from tests.engines import TestEngine

CONTAINERS = 5
MANY = 20
ROUNDS = 4
AT_A_TIME = 8


def containers(folder: Path, *, quick: bool) -> Iterable[Figure]:
    """Executions a second, many at the same time, and how much memory output takes."""
    address = os.environ.get("DOCKER_HOST", "")
    if not address:
        yield Figure("containers", "needs a Docker engine: DOCKER_HOST is not set", "-")
        return
    engine = TestEngine(address)
    try:
        targets = [engine.target(engine.container()) for _ in range(MANY)]
        yield _rate(engine, targets[:CONTAINERS], 10 if quick else 50)
        yield _together(engine, targets, 20 if quick else 200, 5 if quick else 30)
        for kind in ("exec", "run"):
            grown = asyncio.run(_streamed(engine.driver(), engine, targets[0], kind, 64 if quick else 1024)) / (1 << 20)
            size = "64 MB" if quick else "1 GB"
            yield Figure(
                "containers", f"{size} of output of a `{kind}`", f"+{grown:.0f} MB", aim="< 64 MB", reached=grown < 64
            )
    finally:
        engine.close()


def _rate(engine: TestEngine, targets: list[dict[str, Any]], number: int) -> Figure:
    """`number` short commands by each, four times in turn: what else the machine does meanwhile meets both."""
    driver = engine.driver()

    async def in_turn() -> tuple[float, float]:
        bare = here = 0.0
        for turn in range(ROUNDS):
            bare += await asyncio.to_thread(_bare, engine, targets, number)
            here += await _driven(driver, f"{engine.mark}/{turn}", targets, number)
        await driver.close()
        return bare, here

    bare, here = asyncio.run(in_turn())
    total, ratio = number * ROUNDS, bare / here
    what = f"{total} commands in {len(targets)} containers, {AT_A_TIME} at a time"
    beside = f"{total / bare:.1f}/s (bare docker-py)"
    return Figure("containers", what, f"{total / here:.1f}/s", beside, f"{ratio:.2f}", ">= 0.80", reached=ratio >= 0.8)


def _bare(
    engine: TestEngine, targets: list[dict[str, Any]], number: int, *words: str, threads: int = AT_A_TIME
) -> float:
    """Seconds that docker-py takes for as many commands, a thread for each that is under way."""
    client = docker.APIClient(base_url=engine.address, version="auto", timeout=120, max_pool_size=threads)

    def one(index: int) -> None:
        made = client.exec_create(targets[index % len(targets)]["id"], list(words) or ["echo", "hi"])["Id"]
        client.exec_start(made, demux=True)
        assert client.exec_inspect(made)["ExitCode"] == 0

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(number)))
    seconds = time.perf_counter() - began
    client.close()
    return seconds


async def _driven(
    driver: ContainerDriver, mark: str, targets: list[dict[str, Any]], number: int, *words: str, at: int = AT_A_TIME
) -> float:
    """Seconds until the last of them has its result, `at` at a time; what is left of them is removed meanwhile."""
    room, sweeps = asyncio.Semaphore(at), []

    async def one(index: int) -> None:
        block = {"exec": list(words) or ["echo", "hi"], "in": {"ids": ["x"]}, "target": targets[index % len(targets)]}
        call = make_call(block, key=f"{mark}/step{index}/-/1")
        async with room:
            seen = await driver.start(call, await driver.prepare(call))
            while isinstance(seen, Running):
                await asyncio.sleep(seen.look_again)
                seen = await driver.observe(call, seen.handle)
            assert isinstance(seen, Ended) and seen.succeeded, seen
        sweeps.append(asyncio.ensure_future(driver.clean(call, None)))

    began = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(number)))
    seconds = time.perf_counter() - began
    await asyncio.gather(*sweeps)
    return seconds


def _together(engine: TestEngine, targets: list[dict[str, Any]], number: int, each: int) -> Figure:
    """Commands that all run at the same time: how long until the last result, and with how many threads."""
    words = ("sleep", str(each))
    bare = _bare(engine, targets, number, *words, threads=number)
    driver, threads = engine.driver(), 0

    async def counted() -> float:
        nonlocal threads
        before = threading.active_count()
        running = asyncio.ensure_future(_driven(driver, f"{engine.mark}/many", targets, number, *words, at=number))
        while not running.done():
            threads = max(threads, threading.active_count() - before)
            await asyncio.sleep(0.2)
        await driver.close()
        return await running

    here = asyncio.run(counted())
    what = f"{number} commands of {each} s at the same time in {len(targets)} containers"
    beside = f"{bare:.1f} s, {number} threads (bare docker-py)"
    return Figure("containers", what, f"{here:.1f} s, {threads} threads", beside, f"{here / bare:.2f}")


class _Drain:
    """A log that keeps nothing, so that what grows is the driver."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Nothing is kept."""


async def _streamed(
    driver: ContainerDriver, engine: TestEngine, target: dict[str, Any], kind: str, megabytes: int
) -> int:
    """By how many bytes this process grew at the most."""
    words = ["sh", "-c", f"head -c {megabytes << 20} /dev/zero | tr '\\0' x; echo end"]
    block: dict[str, Any] = {"exec": words, "in": {"ids": ["x"]}, "target": target}
    if kind == "run":
        block = {"run": {"image": "local/busybox:1", "command": words}, "on": ["here"]}
    call = make_call(block, key=f"{engine.mark}/{kind}/-/1", log=_Drain())
    before = most = _resident()
    seen = await driver.start(call, await driver.prepare(call))
    while isinstance(seen, Running):
        most = max(most, _resident())
        await asyncio.sleep(min(0.05, seen.look_again))
        seen = await driver.observe(call, seen.handle)
    assert isinstance(seen, Ended) and seen.succeeded, seen
    most = max(most, _resident())
    await driver.clean(call, None)
    await driver.close()
    return most - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
