"""The baselines: what the same calls cost with httpx alone, and with httpx and SQLite written by hand."""

import asyncio
import importlib.util
import json
import sqlite3
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx


def bare_calls(url: str, tasks: int, flow: Sequence[object], concurrency: int, *, helped: bool = False) -> None:
    """`tasks` runs of `flow` by bare httpx: a new client per call, one SSL context, no state at all.

    `helped`: with the failed import at every lock of httpcore taken out, as the http driver does.
    """
    if helped and importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = cast(Any, None)
    try:
        asyncio.run(_bare(url, tasks, flow, concurrency))
    finally:
        if helped:
            del sys.modules["sniffio"]


async def _bare(url: str, tasks: int, flow: Sequence[object], concurrency: int) -> None:
    context, room = ssl.create_default_context(), asyncio.Semaphore(concurrency)

    async def call(task: str, step: str) -> None:
        async with room, httpx.AsyncClient(verify=context, trust_env=False) as client:
            answer = await client.get(f"{url}/ask", params={"task": task, "step": step})
            assert answer.json()["age"] == 20

    async def run(task: str, part: object, *, together: bool) -> None:
        if isinstance(part, str):
            await call(task, part)
        elif together:
            await asyncio.gather(*(run(task, each, together=False) for each in part))  # type: ignore[attr-defined]  # a list
        else:
            for each in part:  # type: ignore[attr-defined]  # a list
                await run(task, each, together=True)

    await asyncio.gather(*(run(f"bare{number}", flow, together=False) for number in range(tasks)))


def floor_calls(url: str, folder: Path, steps: int) -> None:
    """`steps` calls one after the other, each answer and the next intent in one durable commit: the least that a
    controller can do which keeps the promise.
    """
    asyncio.run(_floor(url, folder, steps))


async def _floor(url: str, folder: Path, steps: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "DROP TABLE IF EXISTS steps"):
        database.execute(statement)
    database.execute("CREATE TABLE steps (number INTEGER PRIMARY KEY, phase TEXT, answer TEXT)")
    context = ssl.create_default_context()
    answer = ""
    for number in range(steps + 1):
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE steps SET phase = 'done', answer = ? WHERE number = ?", (answer, number - 1))
        database.execute("INSERT INTO steps VALUES (?, 'intent', '')", (number,))
        database.execute("COMMIT")
        if number == steps:
            break
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            said = await client.get(f"{url}/ask", params={"task": "floor", "step": str(number)})
            answer = json.dumps(said.json())
    database.close()
