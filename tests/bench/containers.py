"""Commands in containers by the driver, against a bare loop over the docker package, and memory while 1 GB streams.

Needs DOCKER_HOST. The receipts are removed meanwhile, as the loop would; the rate counts up to the last result.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.protocol import Ended, Running
from tests.bench.figures import Figure
from tests.calls import make_call
from tests.engines import TestEngine

CONTAINERS = 5
AT_A_TIME = 8


def containers(folder: Path, *, quick: bool) -> Iterable[Figure]:
    """Executions a second, and how much memory output takes."""
    address = os.environ.get("DOCKER_HOST", "")
    if not address:
        yield Figure("containers", "needs a Docker engine: DOCKER_HOST is not set", "-")
        return
    engine = TestEngine(address)
    try:
        targets = [engine.target(engine.container()) for _ in range(CONTAINERS)]
        number = 30 if quick else 200
        bare = _bare(engine, targets, number)
        here = asyncio.run(_driven(engine.driver(), engine, targets, number))
        ratio = here / bare
        what = f"{number} commands in {CONTAINERS} containers, {AT_A_TIME} at a time"
        yield Figure(
            "containers",
            what,
            f"{here:.1f}/s",
            f"{bare:.1f}/s (bare docker-py)",
            f"{ratio:.2f}",
            ">= 0.80",
            ratio >= 0.8,
        )
        for kind in ("exec", "run"):
            grown = asyncio.run(_streamed(engine.driver(), engine, targets[0], kind, 64 if quick else 1024)) / (1 << 20)
            size = "64 MB" if quick else "1 GB"
            yield Figure(
                "containers", f"{size} of output of a `{kind}`", f"+{grown:.0f} MB", aim="< 64 MB", reached=grown < 64
            )
    finally:
        engine.close()


def _bare(engine: TestEngine, targets: list[dict[str, Any]], number: int) -> float:
    client = engine.client

    def one(index: int) -> None:
        made = client.exec_create(targets[index % CONTAINERS]["id"], ["echo", "hi"])["Id"]
        client.exec_start(made, demux=True)
        assert client.exec_inspect(made)["ExitCode"] == 0

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        list(threads.map(one, range(number)))
    return number / (time.perf_counter() - began)


async def _driven(driver: ContainerDriver, engine: TestEngine, targets: list[dict[str, Any]], number: int) -> float:
    room, sweeps = asyncio.Semaphore(AT_A_TIME), []

    async def one(index: int) -> None:
        block = {"exec": ["echo", "hi"], "in": {"ids": ["x"]}, "target": targets[index % CONTAINERS]}
        call = make_call(block, key=f"{engine.mark}/step{index}/-/1")
        async with room:
            seen = await driver.start(call, await driver.prepare(call))
            while isinstance(seen, Running):
                await asyncio.sleep(seen.look_again)
                seen = await driver.observe(call, seen.handle)
            assert isinstance(seen, Ended) and seen.succeeded, seen
        sweeps.append(asyncio.ensure_future(driver.clean(call, None)))

    began = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(number)))
    rate = number / (time.perf_counter() - began)
    await asyncio.gather(*sweeps)
    await driver.close()
    return rate


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
