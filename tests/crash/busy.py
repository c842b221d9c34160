"""A store that commits without a pause, in a process of its own as in life, and what the disk allows at the most."""

import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from state.store import Store
from tests.histories import begun, task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_AHEAD = 50

Found = TypeVar("Found")


class Busy:
    """A store at `state` that admits and begins one task a commit, as fast as the disk lets it, while it is wanted."""

    def __init__(self, state: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._commits = context.Value("L", 0)
        self._wanted, self._stopped = context.Event(), context.Event()
        parts = (state, self._commits, self._wanted, self._stopped)
        self._process = context.Process(target=_commit, args=parts, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._wanted.set()
        self._process.join()

    def during(self, work: Callable[[], Found]) -> tuple[Found, float]:
        """What `work` returns, and how many commits a second there were while it worked."""
        self._wanted.set()
        ahead = self._commits.value + _AHEAD
        while self._commits.value < ahead:
            assert self._process.is_alive(), "the store has ended"
            time.sleep(0.001)
        begun, before = time.monotonic(), self._commits.value
        found = work()
        rate = (self._commits.value - before) / (time.monotonic() - begun)
        self._wanted.clear()
        return found, rate


def _commit(state: Path, commits: "Synchronized[int]", wanted: Event, stopped: Event) -> None:
    store = Store.open(state)
    while wanted.wait() and not stopped.is_set():
        store.commit(begun(task(f"t{commits.value}")), NOW)
        commits.value += 1
    store.close(keep_wal=False)


def most(folder: Path, commits: int = 300) -> float:
    """Commits a second of one small row each by SQLite alone, with the same promise: what this disk allows."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE rows (number INTEGER)"):
            connection.execute(statement)
        began = time.monotonic()
        for number in range(commits):
            connection.execute("INSERT INTO rows VALUES (?)", (number,))
        return commits / (time.monotonic() - began)
