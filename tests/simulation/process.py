"""One life of a controller: the real store, loop, dispatcher and follower, with the world at every seam.

`point` is where it may be killed. What the real controller does around `tick` (taking up what was left, waiting,
looking at the source, minding the room) is mirrored here in a few lines, because signals, files and a clock are its own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.actions import Order, Verb
from reconciler.dispatch import Dispatch
from reconciler.drivers.protocol import Call
from reconciler.follow import Follower
from reconciler.inbox import Inbox
from reconciler.judgement import Report
from reconciler.loop import Loop, tick
from reconciler.observed import Limits, Programs
from reconciler.requests import Request, adopted_triggers, adoptions, holdings
from reconciler.secrets.provider import SecretChain
from state.changes import Change
from state.errors import Fenced, Full
from state.reader import Reader
from state.records import Pin, Snapshot, SourceRecord, Uid
from state.store import Committed, Store
from tests.simulation.containers import SimulatedContainer
from tests.simulation.documents import NAMESPACE
from tests.simulation.drivers import SimulatedHttp, SimulatedProcess
from tests.simulation.event_loop import HandLoop, ProcessDied
from tests.simulation.source import NAME, SimulatedSource
from tests.simulation.target import Target

if TYPE_CHECKING:
    from tests.simulation.world import World

DRIVERS = frozenset({"http", "process", "container"})
OUTPUT_BYTES = 2048
POLL = 7.0
READ_EVERY = 8
"""Every so many commits somebody reads, in the middle of one and after it."""
_programs: dict[tuple[str, ...], Any] = {}


class SimulatedStore(Store):
    """The real store, whose commits can be cut by a death or a full disk and are told to the oracle."""

    process: "Process"
    commits = 0

    def commit(self, changes: Sequence[Change], at: datetime, snapshot: Snapshot | None = None) -> Committed:
        committed = super().commit(changes, at, snapshot)
        if changes:
            self.process.world.oracle.committed(self.process, changes, committed, at)
            self.commits += 1
            self._read()
        return committed

    def _read(self) -> None:
        """Somebody asks the API."""
        if self.commits % READ_EVERY == 0:
            self.process.world.oracle.read(self.process.reader)

    def everyone(self) -> list[Uid]:
        """All tasks that have rows, also earlier runs."""
        return self._column("SELECT uid FROM tasks ORDER BY number")

    def _set(self, name: str, value: str) -> None:
        super()._set(name, value)
        if name == "sequence":
            self._read()
            self.process.inside_commit()


class KnownPrograms(Programs):
    """Programs whose compiling is shared by all lives and cases; whether the store has the pins is asked every time."""

    def __init__(self, read: Callable[[Sequence[str]], dict[str, Pin]]) -> None:
        super().__init__(read)
        self._pins = read

    def get(self, pins: tuple[str, ...]) -> Any:
        if pins not in self._programs and pins in _programs and len(self._pins(pins)) == len(set(pins)):
            self.remember(pins, _programs[pins])
        program = _programs[pins] = super().get(pins)
        return program


class Log:
    """Where output goes: a process may die while it is copied."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def write(self, data: bytes, stream: str = "stdout") -> None:
        self._process.point("C11 while the log is copied")


class Process:
    """A controller from its start to its death. Raises nothing: what goes wrong in it is told to the oracle."""

    def __init__(self, world: "World", number: int, folder: Path) -> None:
        self.world = world
        self.number = number
        self.alive = True
        self.store = SimulatedStore.open(folder, new_name=lambda: "simulated")
        self.store.process = self
        self.reader = Reader(folder)
        self.eventloop = HandLoop(world.clock, lambda: world.delay("thread"))
        self.source = SimulatedSource(world.repository, self)
        self.looked_at = ""
        self._looks = 0
        self._reports = 0
        world.oracle.opened(self)

    def begin(self) -> None:
        """Let its first callback be turned."""
        self._spawn(self._live())

    def _spawn(self, life: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.eventloop.create_task(life)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Full) and self.alive:
            self.die("no space where the controller cannot do without")
        elif error is not None and not isinstance(error, ProcessDied):
            self.world.failed = self.world.failed or error

    # -- what may strike it ------------------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A yield point: it may be killed here."""
        if not self.alive:
            raise ProcessDied
        if self.world.kills(name):
            self.die(name)
            raise ProcessDied

    def die(self, why: str) -> None:
        """Killed: nothing of it runs any more, the lock is free, the committed database stays."""
        self.alive = False
        self.world.note(f"controller {self.number} dies: {why}")
        self.world.died(self)

    def bury(self) -> None:
        """What the kernel does for a process that is gone: its files are closed and its lock is free."""
        self.alive = False
        self.eventloop.drop()
        self.reader.close()
        self.store._connection.close()
        self.store.folder.unlock()

    def inside_commit(self) -> None:
        """Everything is written and nothing committed."""
        self.point("C3 inside the commit")
        if self.world.strikes("disk_full", "commit"):
            raise Full("no space (simulated)")

    def fetch_error(self) -> bool:
        return self.world.strikes("fetch_error", "fetch")

    # -- what drivers ask of it --------------------------------------------------------------------------------------

    @property
    def target(self) -> Target:
        return self.world.target

    @property
    def elapsed(self) -> float:
        return self.world.clock.elapsed

    def strikes(self, fault: str, *about: object) -> bool:
        return self.world.strikes(fault, *about)

    def reached(self, name: str) -> None:
        self.world.reached(name)

    def sending(self, call: Call) -> None:
        self.world.oracle.sending(self, call)

    async def wire(self, arrival: Callable[[], Any]) -> Any:
        """Have `arrival` happen at the target, also if this process dies meanwhile; requests do not overtake."""
        future = self.eventloop.create_future()

        def arrive() -> None:
            answer = arrival()
            if self.alive and not future.done():
                self.eventloop.call_soon(self._answer, future, answer)

        self.world.arrive(arrive)
        return await future

    @staticmethod
    def _answer(future: asyncio.Future[Any], answer: Any) -> None:
        if not future.done():
            future.set_result(answer)

    # -- its life ----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        world = self.world
        self.inbox = Inbox()
        drivers = {
            "http": SimulatedHttp(self),
            "process": SimulatedProcess(self),
            "container": SimulatedContainer(self),
        }
        self.dispatch = Dispatch(drivers, self._deliver, lambda _: None, SecretChain([]), lambda _: Log(self))
        limits = Limits(world.case.room, output_bytes=OUTPUT_BYTES)
        programs = KnownPrograms(self.reader.pins)
        self.loop = Loop(self.store, programs, self.dispatch, self.inbox, limits, self._commit)
        known = self.store.source(NAME)
        record = known or SourceRecord(NAME, "memory:repository", "main", ".")
        hold = not record.commit and world.case.hold
        self.follower = Follower(
            self.source,
            record,
            self.store,
            self.inbox,
            SecretChain([]),
            world.clock.now,
            drivers=DRIVERS,
            hold=hold,
        )
        self.hint = asyncio.Event()
        looking = self._spawn(self._follow())
        self._begin()
        await self._turn(limits)
        looking.cancel()

    def _begin(self) -> None:
        """As in the controller: all that is not over, and what nobody will ask about again."""
        now = self.world.clock.now()
        if self.store.held:
            tasks = self.store.snapshot(self.store.undecided()).tasks.values()
            self.store.commit(list(holdings(self.store.held, tasks)), now)
        self.loop.agenda.start(now)
        left = [Order(Verb.CLEAN, attempt, "", "") for attempt in self.store.uncleaned()]
        self.dispatch.begin(left, now)

    @property
    def waits_for_a_person(self) -> bool:
        """Something is held or not adopted."""
        return bool(self.store.held or self.reader.held_back() or self.reader.held_triggers())

    def adopt(self, chosen: Callable[[str], bool] | None) -> None:
        """A person asks for what is held or not adopted: for all of it, or for the names that are `chosen`."""
        if self.store.held and not self.follower.library:
            return self.world.mend()  # what the source says is refused, so nobody can decide about it yet
        tasks, triggers = self.reader.held_back(), self.reader.held_triggers()
        names = {"/".join(each.identity) for each in tasks} | {"/".join(each.identity) for each in triggers}
        selection = None if chosen is None else frozenset(name for name in sorted(names) if chosen(name))
        request = Request(Path("some.json"), "Ada", selection)
        changes, asked = list(adoptions(request, tasks)), dict(adopted_triggers(request, triggers))
        self.world.note(f"a person adopts {len(changes)} tasks")
        self.world.reached("adopted by a person")
        self.inbox.ask([*changes, *asked.values()], [change.uid for change in changes], asked)
        self._spawn(self._decide(self.loop.ticks + 2))
        return None

    async def _decide(self, ticks: int) -> None:
        """As in the controller: once what was asked for is durable."""
        while self.loop.ticks < ticks:
            await asyncio.sleep(1)
            self.inbox.ask([], [])
        if self.store.held:
            self.world.oracle.released()
            async with self.inbox.turn:
                await self.eventloop.run_in_executor(None, self.store.release)
            self.follower.decided()
            self.loop.agenda.decided(self.world.clock.now())

    async def _turn(self, limits: Limits) -> None:
        world = self.world
        while True:
            wanted = replace(limits, total=0) if self.store.held else limits
            if wanted != self.loop.limits:
                self.loop.limits = wanted
                self.loop.agenda.offer_room()
            try:
                world.reached("tick")
                async with self.inbox.turn:
                    now = world.clock.now()
                    planned = await tick(self.loop, now)
                if self.store.epoch == world.oracle.epoch:
                    world.oracle.turned(self, now)
                for action in planned:
                    world.note(f"  {action}")
                self.point("C4 committed, orders begun")
            except Full:
                world.note("the disk is full: nothing was written")
                await asyncio.sleep(1)
            except Fenced:
                world.reached("fenced")
                self.die("fenced")
                return
            if world.calm and self.loop.idle and self.at_head:
                world.idle(self)
            await self._wait()

    def follows(self, trigger: str) -> bool:
        """Whether it decides about the trigger of this name: it reads its source, and has its file."""
        library = None if self.store.held else self.follower.library
        return bool(library and library.trigger(NAMESPACE, trigger))

    @property
    def at_head(self) -> bool:
        """The source was looked at since its last commit."""
        head = self.world.repository.head
        return bool(head) and self.looked_at == head.oid if head else True

    async def _wait(self) -> None:
        agenda = self.loop.agenda
        if agenda.pressing or self.inbox:
            await asyncio.sleep(0)
            return
        now = self.world.clock.now()
        wake = (agenda.next_wake - now).total_seconds() if agenda.next_wake else POLL
        await self.inbox.wait(max(0.0, min(wake, POLL)))

    async def _follow(self) -> None:
        while True:
            self.hint.clear()
            head = self.world.repository.head
            if await self.follower.look():
                self.looked_at = head.oid if head else ""
            try:
                async with asyncio.timeout(POLL):
                    await self.hint.wait()
            except TimeoutError:
                continue

    async def _commit(self, changes: Sequence[Change], at: datetime) -> Committed:
        """In the writer's thread, while news gathers."""
        if not changes:
            return self.store.commit(changes, at)
        self.point("C2 planned, not committed")
        committed: Committed = await self.eventloop.run_in_executor(None, self.store.commit, changes, at)
        self.point("C5 committed, nothing sent")
        return committed

    def _deliver(self, report: Report) -> None:
        """A report on its way to the inbox: perhaps late, perhaps twice."""
        world = self.world
        self._reports += 1
        world.note(f"  < {report.path} call {report.call} {report.verb.value}: {_said(report)}")
        late = world.chance.between(1, 8, "late", self._reports) if world.strikes("late_reply", "report") else 0.0
        if late:
            self.eventloop.call_later(late, self.inbox.report, report)
        else:
            self.inbox.report(report)
        if world.strikes("duplicate_reply", "report"):
            delay = world.chance.between(0, 5, "duplicate", self._reports)
            self.eventloop.call_later(late + delay, self.inbox.report, report)


def _said(report: Report) -> str:
    text = str(report.observation)
    return text if len(text) < 240 else f"{text[:200]}… {len(text)} characters"
