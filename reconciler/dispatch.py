"""The hands of the loop: it carries out orders at targets and brings back what happened as reports.

It decides nothing. At most one order of a place (task, step path) is under way, so the planner can tell from `flying`
what this process is doing; a stop comes before the call that it ends.
"""

import asyncio
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import structlog

from reconciler.actions import Order, Verb, place
from reconciler.drivers.protocol import Call, Driver, Ended, LogSink, NotStarted, Observation, Running, Secrets, Unknown
from reconciler.errors import Refusal
from reconciler.judgement import Report
from reconciler.observed import Place
from reconciler.secrets.provider import SecretUnavailable
from state.records import AttemptRecord

_GRACE = 15.0
"""Seconds beyond an attempt's deadline after which a driver that still has not answered is given up on."""

_FRAMES = 4
"""So many places in the code are logged of an exception, the innermost ones."""

Allowed = Callable[[Order], Refusal | None]
LogOf = Callable[[AttemptRecord], LogSink]

log = structlog.get_logger("reconciler.dispatch")


class Dispatch:
    """Runs orders as asyncio tasks. `deliver` takes each report, `allowed` is the operator's policy."""

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        deliver: Callable[[Report], None],
        allowed: Allowed,
        secrets: Secrets,
        log_of: LogOf,
    ) -> None:
        self._drivers = drivers
        self._deliver = deliver
        self._allowed = allowed
        self._secrets = secrets
        self._log_of = log_of
        self._under_way: dict[Place, tuple[Order, asyncio.Task[None]]] = {}
        self._prepared: dict[Place, asyncio.Event] = {}
        self.sent = 0

    @property
    def flying(self) -> frozenset[Place]:
        """Where an order is under way whose report the loop has not taken yet."""
        return frozenset(self._under_way)

    def begin(self, orders: Iterable[Order], now: datetime) -> None:
        """Start carrying out orders; returns at once. Their intents are durable by now."""
        for order in orders:
            earlier = self._under_way.pop(order.place, None)
            if earlier:
                earlier[1].cancel()
            self._prepared.pop(order.place, None)
            task = asyncio.create_task(self._carry_out(order, now, earlier[1] if earlier else None))
            self._under_way[order.place] = (order, task)
            self.sent += 1

    def landed(self, report: Report) -> None:
        """The loop has taken a report: nothing flies there any more, unless it only tells of a handle."""
        if self._is_of_what_flies(report) and not report.prepared:
            del self._under_way[place(report.uid, report.path, report.attempt, report.verb)]

    def release(self, report: Report) -> None:
        """The handle in a `prepared` report is durable: what it names may be started."""
        if report.prepared and self._is_of_what_flies(report):
            event = self._prepared.pop((report.uid, report.path), None)
            if event:
                event.set()

    def _is_of_what_flies(self, report: Report) -> bool:
        """Whether a report is the answer to the order under way at its place, and not a late one to an earlier order."""
        order, _ = self._under_way.get(place(report.uid, report.path, report.attempt, report.verb), (None, None))
        if order is None:
            return False
        attempt = order.attempt
        asked = (order.verb, attempt.number, attempt.call, attempt.resends)
        return asked == (report.verb, report.attempt, report.call, report.resends)

    async def close(self) -> None:
        """Let go of everything; work at the targets goes on and is found again."""
        tasks = [task for _, task in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for driver in self._drivers.values():
            await driver.close()

    async def _carry_out(self, order: Order, now: datetime, earlier: asyncio.Task[None] | None) -> None:
        if earlier:
            await asyncio.gather(earlier, return_exceptions=True)
        try:
            observation = await self._observation(order, now)
        except Exception as error:
            _tell_fault("driver failed", order, error)
            observation = Unknown(f"the {order.attempt.driver} driver failed with {type(error).__name__}")
        self._report(order, observation)

    def _report(self, order: Order, observation: Observation, *, prepared: bool = False) -> None:
        attempt = order.attempt
        where = (attempt.uid, attempt.path, attempt.number, attempt.call, order.verb)
        self._deliver(Report(*where, observation, prepared, attempt.resends))

    async def _observation(self, order: Order, now: datetime) -> Observation:
        driver = self._drivers.get(order.attempt.driver)
        if driver is None:
            return Ended(False, message=f"there is no {order.attempt.driver} driver in this version", repeatable=False)
        refusal = self._allowed(order) if order.verb is Verb.START else None
        if refusal:
            return Ended(False, message=f"{refusal.code} {refusal.message}", repeatable=False)
        call = self._call(order, now)
        limit = call.remaining + _GRACE if call.remaining is not None else None
        try:
            async with asyncio.timeout(limit):
                return await self._method(driver, call, order)
        except TimeoutError:
            return Unknown("no answer by its deadline")
        except SecretUnavailable as error:
            return NotStarted(str(error), refused=True)

    async def _method(self, driver: Driver, call: Call, order: Order) -> Observation:
        handle = order.attempt.handle
        match order.verb:
            case Verb.START:
                return await self._start(driver, call, order)
            case Verb.OBSERVE:
                return await driver.observe(call, handle)
            case Verb.CANCEL:
                return await driver.cancel(call, handle)
            case Verb.CLEAN:
                await driver.clean(call, handle)
                return Ended(True)

    async def _start(self, driver: Driver, call: Call, order: Order) -> Observation:
        """Made, its handle durable, then started: never the other way round."""
        handle = order.attempt.handle
        try:
            handle = handle if handle is not None else await driver.prepare(call)
        except Exception as error:
            _tell_fault("nothing could be prepared", order, error)
            return NotStarted(
                f"the {order.attempt.driver} driver could not prepare it: {type(error).__name__}", refused=True
            )
        if handle is not None and order.attempt.handle is None:
            durable = self._prepared.setdefault(order.place, asyncio.Event())
            self._report(order, Running(handle), prepared=True)
            await durable.wait()
        return await driver.start(call, handle)

    def _call(self, order: Order, now: datetime) -> Call:
        attempt = order.attempt
        deadline = attempt.deadline if order.verb is Verb.START else None
        return Call(
            key=attempt.key,
            number=attempt.call,
            name=attempt.name,
            request=attempt.request,
            log=self._log_of(attempt),
            secrets=self._secrets,
            secret_references=attempt.secrets,
            labels=_labels(order),
            uses_result=order.uses_result,
            remaining=max((deadline - now).total_seconds(), 0.0) if deadline else None,
            resend=order.resend,
        )


def _labels(order: Order) -> dict[str, str]:
    attempt = order.attempt
    return {
        "reconciler.dev/task": order.task,
        "reconciler.dev/step": attempt.path,
        "reconciler.dev/attempt": attempt.key,
        "reconciler.dev/epoch": str(attempt.epoch),
    }


def _tell_fault(what: str, order: Order, error: Exception) -> None:
    """Log an exception by its type and the places in the code; its text may quote a secret."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    attempt = order.attempt
    log.error(what, driver=attempt.driver, key=attempt.key, error=type(error).__name__, at=places)
