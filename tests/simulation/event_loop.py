"""An asyncio event loop that is turned by hand: one callback a turn, in a time that passes only when told to.

The real loop, dispatcher and follower run on it unchanged. Each simulated process has one of its own, so a crash is
simply that nobody turns it any more: no `finally` is a goodbye that a killed process would not have said.
"""

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 22, 6, tzinfo=UTC)


@dataclass
class Clock:
    """Seconds that have passed, and how far the wall clock is off."""

    elapsed: float = 0.0
    offset: float = 0.0

    def now(self) -> datetime:
        """What the wall clock shows."""
        return START + timedelta(seconds=self.elapsed + self.offset)


class ProcessDied(BaseException):
    """The process was killed here: nothing of it runs any further."""


class HandLoop(asyncio.BaseEventLoop):
    """Turned by `turn`; threads are played by callbacks that run `delay()` seconds later."""

    def __init__(self, clock: Clock, delay: Callable[[], float]) -> None:
        super().__init__()
        self._hand_clock = clock
        self._delay = delay
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._hand_clock.elapsed

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # simpler than asyncio's generics
        """Run `func` whole at some later time, as a thread of `executor` might."""
        future = self.create_future()
        self.call_later(self._delay(), self._perform, future, func, args)
        return future

    def next_time(self) -> float | None:
        """When there is something to turn; None if never."""
        hidden: Any = self
        if hidden._ready:
            return self.time()
        scheduled = hidden._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        return scheduled[0]._when if scheduled else None

    def turn(self) -> None:
        """Run one callback that is due."""
        hidden: Any = self
        while hidden._scheduled and hidden._scheduled[0]._when <= self.time():
            timer = heapq.heappop(hidden._scheduled)
            timer._scheduled = False
            hidden._ready.append(timer)
        handle = hidden._ready.popleft()
        if handle._cancelled:
            return
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)

    def drop(self) -> None:
        """Nobody turns it any more; what was pending says nothing about it."""
        tasks: Any = asyncio.all_tasks(self)
        self.close()
        for task in tasks:
            task._log_destroy_pending = False
            with suppress(RuntimeError):
                task.get_coro().close()

    def _perform(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            result = func(*args)
        except ProcessDied:
            return
        except Exception as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
