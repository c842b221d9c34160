"""One controller: its parts put together, its life from the lock on the state folder to the last checkpoint."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from definitions.revision import ALLOW_PRUNE, Source
from definitions.sources.folder import FolderSource
from definitions.sources.open import open_source
from definitions.sources.watch import changes as hints
from reconciler import clock
from reconciler.actions import Order, Verb
from reconciler.dispatch import Dispatch
from reconciler.drivers.assembly import assembled
from reconciler.drivers.process_folder import forget
from reconciler.drivers.script import available as script_available
from reconciler.errors import Refusal, SettingsError
from reconciler.follow import Follower
from reconciler.inbox import Inbox
from reconciler.last_good import branch_before
from reconciler.loop import Loop, tick
from reconciler.observed import Limits, Programs
from reconciler.policy import allowed, allowed_secret
from reconciler.requests import Request, adopted_triggers, adoptions, holdings, waiting
from reconciler.secrets.env import EnvSecrets
from reconciler.secrets.file import FileSecrets
from reconciler.secrets.provider import SecretChain
from reconciler.service import Service
from reconciler.settings import Settings
from state.changes import Change, Retired
from state.errors import Full, StateError
from state.logs import AttemptLog, Logs
from state.phases import TaskPhase
from state.reader import Reader
from state.records import AttemptRecord, Cause, SourceRecord, Uid
from state.store import Committed, Store

DRIVERS = frozenset({"http", "process", "container", *(["script"] if script_available() else [])})
HEARTBEAT = 5.0
RETENTION = timedelta(hours=1)
DRAIN = 6.0
"""Seconds that calls under way get to end when the controller is told to; with what follows that is less than ten."""
_LETTING_GO = 2.0

log = structlog.get_logger("reconciler.controller")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How this run differs from a service that goes on for ever. `told` hears of every commit."""

    until_idle: bool = False
    allow_prune: int | None = None
    told: Callable[[Committed], None] = lambda _: None


def run(settings: Settings, options: RunOptions) -> int:
    """Run a controller until SIGTERM, SIGINT or, with `until_idle`, until nothing is left to do; the exit code.

    Raises StateError, SettingsError and SourceUnavailable (a location that can never be a source).
    """
    store = Store.open(settings.state, wait=float("inf") if settings.wait else None)
    try:
        return asyncio.run(_Controller(settings, options, store).live())
    except (StateError, OSError):
        store.folder.require_same_files()  # where the folder is gone, that is what there is to say
        raise
    finally:
        store.close()


class _Controller:
    """The parts of a controller and their wiring."""

    def __init__(self, settings: Settings, options: RunOptions, store: Store) -> None:
        self.settings = settings
        self.options = options
        self.store = store
        self.folder = settings.state
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.reader = Reader(self.folder)
        self.secrets = _secrets(settings)
        self.logs = Logs(self.folder / "logs")
        self.inbox = Inbox()
        dispatch = Dispatch(
            assembled(settings, store.controller), self.inbox.report, self._allowed, self.secrets, self._log_of
        )
        programs = Programs(self.reader.pins)
        self.loop = Loop(store, programs, dispatch, self.inbox, _limits(settings), self._commit, options.told)
        self.stopping = asyncio.Event()
        self.looked = False
        self.drained_at = 0.0
        self.closed = ""  # why nothing new is dispatched
        self.retiring: tuple[int, list[Uid]] = (0, [])  # the turn by which rows are gone whose logs may go, too
        self.follower: Follower | None = None
        self.answers: dict[Path, int] = {}  # requests put to the loop, and the turn by which they are written

    # -- life --------------------------------------------------------------------------------------------------------

    async def live(self) -> int:
        """From the first look at the source to the last tick."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        for note in self.store.notes:
            log.info(note)
        source = self._source()
        follower = self.follower = self._follower(source)
        service = self._service()
        chores: list[Awaitable[None]] = [self._follow(source, follower), self._beat(), self._housekeeping()]
        chores += [service.run()] if service else []
        tasks = [asyncio.ensure_future(chore) for chore in chores]
        try:
            self._begin(clock.now())
            await self._turn(tasks)
        finally:
            await self._end(tasks, service, follower)
        return self._exit_code(follower) if self.options.until_idle else 0

    def _begin(self, now: datetime) -> None:
        """Take up everything that an earlier controller left, first of all what nobody will ask about again."""
        self._hold_back(now)
        self.loop.agenda.start(now, self._last_beat())
        left = [Order(Verb.CLEAN, attempt, "", "") for attempt in self.store.uncleaned()]
        self.loop.dispatch.begin(left, now)

    def _hold_back(self, now: datetime) -> None:
        """In a database that may be older than what has run, nothing unfinished goes on before a person has decided."""
        if not self.store.held:
            return
        tasks = self.store.snapshot(self.store.undecided()).tasks.values()
        self.store.commit(list(holdings(self.store.held, tasks)), now)
        log.warning("held: reconciler adopt says what goes on", reason=self.store.held, tasks=len(tasks))

    async def _turn(self, chores: Sequence[asyncio.Future[None]]) -> None:
        """Tick after tick, until told to end or idle; what is under way gets some seconds to end before us."""
        while not self._over():
            for chore in chores:
                if chore.done():
                    chore.result()
            self._mind_the_room()
            try:
                async with self.inbox.turn:
                    await tick(self.loop, clock.now())
            except Full as error:
                log.warning("nothing can be recorded, so nothing is dispatched", error=str(error))
                await asyncio.sleep(1)
            if self.options.until_idle and self.looked and self.loop.idle and not self._asked():
                return
            await self._wait()

    def _over(self) -> bool:
        """Told to end, and nothing is under way any more or the time for that has run out."""
        if not self.stopping.is_set():
            return False
        time = asyncio.get_running_loop().time()
        self.drained_at = self.drained_at or time + DRAIN
        return time >= self.drained_at or not (self.loop.dispatch.flying or self.inbox)

    async def _wait(self) -> None:
        agenda = self.loop.agenda
        if agenda.pressing or self.inbox:
            await asyncio.sleep(0)
            return
        wake = (agenda.next_wake - clock.now()).total_seconds() if agenda.next_wake else 1.0
        await self.inbox.wait(max(0.0, min(wake, 1.0)))

    async def _end(self, tasks: Sequence[asyncio.Future[None]], service: Service | None, follower: Follower) -> None:
        """Stop within seconds; what is under way at targets goes on there, and the next start finds it."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_LETTING_GO):
                await self.loop.dispatch.close()
                if service:
                    await service.close()
        except TimeoutError:
            log.warning("a driver did not let go in time")
        self._write_heart()
        self.writer.shutdown()
        follower.close()
        self.reader.close()

    def _exit_code(self, follower: Follower) -> int:
        """0: all tasks finished; 1: one failed or was revoked; 2: one is held or suspended."""
        library = follower.library
        if library is None:
            return 1
        identities = [(task.namespace, task.name) for task in library.tasks()]
        tasks = self.store.snapshot((), identities).tasks.values()
        phases = {task.record.phase for task in tasks}
        if phases & {TaskPhase.FAILED, TaskPhase.REVOKED} or library.rejected:
            return 1
        return 2 if phases - {TaskPhase.FINISHED} else 0

    # -- chores ------------------------------------------------------------------------------------------------------

    async def _follow(self, source: Source, follower: Follower) -> None:
        """Look at the source at once, at every hint, and at every poll."""
        await follower.look()
        self.looked = True
        poll = self.settings.source.poll.total_seconds()
        async for _ in hints(source.watch_paths(), self.stopping, poll=poll):
            await follower.look()

    async def _beat(self) -> None:
        """The heartbeat: written by the process whose loop it is about, so a wedged loop is seen."""
        while True:
            self._write_heart()
            await asyncio.sleep(HEARTBEAT)

    def _last_beat(self) -> datetime | None:
        """When the controller before this one was last alive, by its clock; None if nobody knows."""
        try:
            return datetime.fromtimestamp((self.folder / "heartbeat").stat().st_mtime, UTC)
        except OSError:
            return None

    def _write_heart(self) -> None:
        dispatch = self.loop.dispatch
        counters = {
            "ticks": self.loop.ticks,
            "orders": dispatch.sent,
            "flying": len(dispatch.flying),
            "closed": self.closed,
        }
        fresh = self.folder / "counters.json.new"
        try:
            fresh.write_text(json.dumps(counters))
            fresh.replace(self.folder / "counters.json")
            (self.folder / "heartbeat").touch()
        except OSError as error:
            log.warning("the heartbeat cannot be written", error=str(error))

    async def _housekeeping(self) -> None:
        """Requests every second, retention every hour, a checkpoint when the log of the database has grown."""
        retained = clock.now() - RETENTION
        while True:
            await self._take_requests()
            await self._forget_logs()
            if clock.now() - retained >= RETENTION:
                retained = clock.now()
                await self._retire(retained)
            with suppress(Full):  # the log goes on growing where it has room, and is emptied when there is more
                async with self.inbox.turn:
                    await asyncio.get_running_loop().run_in_executor(self.writer, self.store.checkpoint)
            await asyncio.sleep(1)

    def _asked(self) -> list[Request]:
        """The requests that can be answered now: about an older database only once the source has been read."""
        answerable = not self.store.held or (self.follower and self.follower.library)
        return waiting(self.folder / "requests") if answerable else []

    async def _take_requests(self) -> None:
        """A request is put to the loop, and goes when what it asked for is durable; a crash between finds it again."""
        for request in self._asked():
            if request.file not in self.answers:
                self.answers[request.file] = self.loop.ticks + 2  # a turn that is under way does not know of it
                tasks = list(adoptions(request, self.reader.held_back()))
                triggers = dict(adopted_triggers(request, self.reader.held_triggers()))
                self.inbox.ask([*tasks, *triggers.values()], [change.uid for change in tasks], triggers)
                log.info("adopting", by=request.by, tasks=len(tasks), triggers=len(triggers))
            elif self.answers[request.file] <= self.loop.ticks:
                await self._decide()
                request.file.unlink()

    async def _decide(self) -> None:
        """A person has looked at the older database: from here on new tasks begin as they come."""
        if self.store.held and self.follower:
            async with self.inbox.turn:
                await asyncio.get_running_loop().run_in_executor(self.writer, self.store.release)
            self.follower.decided()
            self.loop.agenda.decided(clock.now())

    async def _retire(self, now: datetime) -> None:
        """Let the rows of old tasks go, and the logs of those that went earlier; their tombstones stay."""
        keep = self.settings.retention
        before = now - timedelta(days=keep.days)
        await asyncio.get_running_loop().run_in_executor(None, forget, self.folder / "processes", before.timestamp())
        async with self.inbox.turn:
            old = self.store.finished_before(before)
            surplus = self.store.surplus(keep.per_namespace)
            with suppress(Full):
                await asyncio.get_running_loop().run_in_executor(self.writer, self.store.forget_firings, before)
        uids: list[Uid] = list(dict.fromkeys([*old, *surplus]))
        self.retiring = (self.loop.ticks + 2, list(self.logs.uids()))
        if uids:
            self.inbox.ask([Retired(uid, Cause("timer", message="retention")) for uid in uids], uids)

    async def _forget_logs(self) -> None:
        """Logs go after the rows that lead to them, also those of rows that went before a crash."""
        turn, uids = self.retiring
        if not uids or turn > self.loop.ticks:
            return
        self.retiring = (0, [])
        async with self.inbox.turn:
            strangers = self.store.strangers(uids)
        await asyncio.get_running_loop().run_in_executor(None, self._remove_logs, strangers)

    def _remove_logs(self, uids: Sequence[Uid]) -> None:
        for uid in uids:
            self.logs.remove(uid)

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _commit(self, changes: Sequence[Change], at: datetime) -> Committed:
        return await asyncio.get_running_loop().run_in_executor(self.writer, self.store.commit, changes, at)

    def _mind_the_room(self) -> None:
        """Nothing new is dispatched on a short disk (results must still fit), in a held state, or before the end."""
        closed = self._closed()
        if closed != self.closed:
            log.warning("nothing new is dispatched" if closed else "dispatch goes on", reason=closed or self.closed)
            self.closed = closed
            self._write_heart()
        wanted = replace(_limits(self.settings), total=0 if closed else self.settings.dispatch.total)
        if wanted != self.loop.limits:
            self.loop.limits = wanted
            self.loop.agenda.offer_room()

    def _closed(self) -> str:
        """Why nothing new is dispatched now; "" while it is."""
        if self.stopping.is_set():
            return "the controller is ending and waits for calls under way"
        if self.store.held:
            return f"{self.store.held}; reconciler adopt says what goes on"
        least = self.settings.min_free
        short = self.store.free_bytes() < least
        return f"the disk of the state folder has less free than minFree ({least >> 20} MiB)" if short else ""

    def _allowed(self, order: Order) -> Refusal | None:
        permissions = self.settings.permissions
        attempt = order.attempt
        refusal = allowed(attempt.driver, attempt.request, order.source, permissions)
        secrets = (allowed_secret(name, order.source, permissions) for name in attempt.secrets.values())
        return refusal or next((each for each in secrets if each), None)

    def _log_of(self, attempt: AttemptRecord) -> AttemptLog:
        return self.logs.log(attempt.uid, attempt.path, attempt.number)

    def _source(self) -> Source:
        wanted = self.settings.source
        allow = self.options.allow_prune
        if allow is not None:
            if not wanted.location.startswith("dir:"):
                raise SettingsError(
                    f"--allow-prune is for folders; in Git a commit carries the trailer `{ALLOW_PRUNE}: {allow}`"
                )
            folder = Path(wanted.location.removeprefix("dir:") or ".")
            return FolderSource(wanted.name, folder, wanted.path, clock.now, trailers=((ALLOW_PRUNE, str(allow)),))
        mirror = self.folder / "sources" / _file_name(wanted.name)
        no_refs = wanted.location.startswith("dir:")
        ref = wanted.ref or (None if no_refs else branch_before(self.store.source(wanted.name)))
        return open_source(wanted.name, wanted.location, ref, wanted.path, mirror, clock.now, wanted.signers)

    def _follower(self, source: Source) -> Follower:
        wanted = self.settings.source
        known = self.store.source(wanted.name)
        record = known or SourceRecord(wanted.name, wanted.location, "", wanted.path)
        record = replace(record, location=source.describe(), ref=source.followed(), path=wanted.path)
        cold = not record.commit
        hold = cold and self.settings.cold_start == "hold"
        if cold:
            log.info("a new state folder", adopt=self.settings.cold_start)
        return Follower(source, record, self.store, self.inbox, self.secrets, clock.now, drivers=DRIVERS, hold=hold)

    def _service(self) -> Service | None:
        if self.settings.listen == "off" or not self.settings.api.enabled:
            return None
        listen = self.settings.listen if "listen" in self.settings.model_fields_set else None
        return Service(self.folder, listen, self.settings.api.token_file)


def _secrets(settings: Settings) -> SecretChain:
    folder = settings.secrets.folder
    return SecretChain([EnvSecrets(os.environ), *([FileSecrets(folder)] if folder else [])])


def _limits(settings: Settings) -> Limits:
    dispatch = settings.dispatch
    return Limits(dispatch.total, dispatch.per_namespace, dispatch.per_driver, settings.limits.output)


def _file_name(name: str) -> str:
    return name.encode().hex()
