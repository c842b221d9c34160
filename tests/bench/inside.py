"""The loop in this process, tick by tick, with the real store and a driver that answers at once: for what one tick costs.

Parses are counted where the library asks for bytes, writes where SQLite counts rows.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from definitions.revision import Blob, Source
from reconciler import clock
from reconciler.controller import DRIVERS
from reconciler.dispatch import Dispatch
from reconciler.drivers.fake import Answer, FakeDriver, FakeTarget
from reconciler.drivers.protocol import Call
from reconciler.follow import Follower
from reconciler.inbox import Inbox
from reconciler.loop import Loop, tick
from reconciler.observed import Limits, Programs
from reconciler.secrets.provider import SecretChain
from state.changes import Change
from state.reader import Reader
from state.records import SourceRecord
from state.store import Committed, Store


@dataclass(frozen=True, slots=True)
class Cost:
    """One tick: milliseconds by the clock, and milliseconds of all cores; rows written."""

    wall: float
    cpu: float
    rows: int


class Silent:
    """A log that keeps nothing."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Nothing."""


class Counted:
    """A source that counts the files whose bytes were asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.parses = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        for each in self.source.read(blobs):
            self.parses += 1
            yield each


class Inside:
    """One loop over a new state folder, following `source`."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.store = Store.open(folder)
        self.reader = Reader(folder)
        self.inbox = Inbox()
        self.source = Counted(source)
        self._writer = ThreadPoolExecutor(1)
        driver = FakeDriver(FakeTarget(_answer))
        dispatch = Dispatch({"http": driver}, self.inbox.report, lambda _: None, SecretChain([]), lambda _: Silent())
        self.loop = Loop(self.store, Programs(self.reader.pins), dispatch, self.inbox, Limits(), self._commit)
        self.loop.agenda.start(clock.now())
        record = SourceRecord("main", source.describe(), "", ".")
        self.follower = Follower(
            self.source,
            *(record, self.store, self.inbox, SecretChain([]), clock.now),
            drivers=DRIVERS,
            hold=False,
        )

    async def tick(self) -> Cost:
        """One tick over what is in the inbox."""
        rows = self._rows
        wall, cpu = time.perf_counter(), time.process_time()
        await tick(self.loop, clock.now())
        took = (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000
        return Cost(*took, self._rows - rows)

    async def settle(self) -> list[Cost]:
        """Ticks until nothing but time would bring news."""
        costs = []
        while self.inbox or self.loop.agenda.pressing or self.loop.dispatch.flying:
            await self.inbox.wait(0.0 if self.loop.agenda.pressing else 1.0)
            costs.append(await self.tick())
        return costs

    async def close(self) -> None:
        await self.loop.dispatch.close()
        self.follower.close()
        self._writer.shutdown()
        self.reader.close()
        self.store.close(keep_wal=False)

    @property
    def _rows(self) -> int:
        return self.store._connection.total_changes

    async def _commit(self, changes: Sequence[Change], at: datetime) -> Committed:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, self.store.commit, changes, at)


def _answer(call: Call) -> Answer:
    later = "/later" in str(call.request["url"])
    return Answer(result={"age": 0 if later else 20, "ready": not later}, code=200)
