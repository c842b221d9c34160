"""The control loop. Read `tick`: it is the product.

Guarantee: nothing leaves this process before its intent is on disk, and what a tick decides is written whole or not at
all. A tick awaits once, for the commit, while news of the next one gathers; so it can be driven by hand.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from definitions.desired import Complete
from reconciler.actions import Plan
from reconciler.agenda import Agenda
from reconciler.dispatch import Dispatch
from reconciler.drivers.protocol import Running
from reconciler.inbox import Inbox, News
from reconciler.judgement import Report, judge
from reconciler.observed import Limits, Observed, Programs
from reconciler.plan.due import candidates
from reconciler.plan.whole import contested, plan
from state.changes import Change, Retired, TaskChange, uid_of
from state.errors import StateError
from state.phases import IllegalTransition, TaskPhase, TriggerPhase
from state.records import Identity, Snapshot, TaskRecord, TaskSnapshot, Uid
from state.store import Committed, Store
from state.triggers import TriggerChange, trigger_of

Commit = Callable[[Sequence[Change], datetime], Awaitable[Committed]]

log = structlog.get_logger("reconciler.loop")


@dataclass(frozen=True, slots=True)
class Scope:
    """What one tick is about: these tasks, the files of these identities, and these triggers."""

    news: News
    tasks: tuple[Uid, ...]
    identities: tuple[Identity, ...] = ()
    triggers: tuple[Identity, ...] = ()

    def of(self, uid: Uid) -> "Scope":
        """The same news for one task alone, without files."""
        reports = [report for report in self.news.reports if report.uid == uid]
        changes = [change for change in self.news.changes if _subject(change) == uid]
        return Scope(News(reports=reports, changes=changes), (uid,))

    @property
    def asked(self) -> list[TriggerChange]:
        """What was asked for triggers, which need not be among those that are decided about."""
        return [change for change in self.news.changes if isinstance(change, TriggerChange)]

    def of_asked(self) -> "Scope":
        """What was asked for triggers, without a look at any of them."""
        return Scope(News(changes=list(self.asked)), ())

    def of_triggers(self) -> "Scope":
        """The triggers alone."""
        return Scope(News(), (), triggers=self.triggers)

    def of_files(self) -> "Scope":
        """The files and the source alone."""
        return Scope(News(source=self.news.source), (), self.identities)


class Loop:
    """What a tick needs. `told` hears of every commit; `commit` writes, usually in a thread of its own."""

    def __init__(
        self,
        store: Store,
        programs: Programs,
        dispatch: Dispatch,
        inbox: Inbox,
        limits: Limits,
        commit: Commit,
        told: Callable[[Committed], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.programs = programs
        self.dispatch = dispatch
        self.inbox = inbox
        self.limits = limits
        self.commit = commit
        self.told = told
        self.agenda = Agenda(store)
        self.ticks = 0

    def observe(self, scope: Scope, now: datetime) -> Observed:
        """The slice of the world that the tick is about, its programs compiled."""
        snapshot = self._snapshot(scope, now)
        pins = {task.record.pins for task in snapshot.tasks.values() if task.record.pins and _goes_on(task.record)}
        programs = {digests: self.programs.get(digests) for digests in pins}
        where = (frozenset(scope.identities), self.dispatch.flying, self.limits, self.agenda.served)
        return Observed(snapshot, programs, *where, frozenset(scope.triggers), self.agenda.changed)

    def _snapshot(self, scope: Scope, now: datetime) -> Snapshot:
        """The rows of the slice, and whether the tasks that its triggers may make now ran before."""
        asked = [trigger_of(change) for change in scope.asked]
        snapshot = self.store.snapshot(scope.tasks, scope.identities, scope.triggers, asked)
        if not scope.triggers or not isinstance(self.agenda.desired, Complete):
            return snapshot
        seen = Observed(snapshot, triggers=frozenset(scope.triggers), changed=self.agenda.changed)
        made = list(candidates(self.agenda.desired, seen, now))
        return self.store.snapshot(scope.tasks, [*scope.identities, *made], scope.triggers, asked) if made else snapshot

    def widened(self, scope: Scope, now: datetime) -> Observed:
        """The same with all those whose place something of it is to take."""
        observed = self.observe(scope, now)
        rivals = self.agenda.rivals(contested(observed))
        if all(uid in observed.snapshot.tasks for uid in rivals):
            return observed
        return self.observe(replace(scope, tasks=tuple(dict.fromkeys([*scope.tasks, *rivals]))), now)

    def judge(self, news: News, observed: Observed, now: datetime) -> list[TaskChange]:
        """What the reports change, one after the other; a late or doubled one changes nothing."""
        changes: list[TaskChange] = []
        for report in news.reports:
            task = observed.snapshot.tasks.get(report.uid)
            if task is None or not task.record.pins:
                continue
            said = judge(report, task, self.programs.get(task.record.pins), self.limits, now)
            observed = observed.after(said, now)
            changes += said
        return changes

    def tell(self, committed: Committed) -> None:
        """Say what was written to whoever listens; a listener whose ear is gone (a closed pipe) is left out from now on."""
        try:
            self.told(committed)
        except OSError:
            self.told = lambda _: None

    @property
    def idle(self) -> bool:
        """Nothing is under way, nothing waits for a time or for room, no news."""
        return not (self.inbox or self.dispatch.flying) and self.agenda.empty


async def tick(loop: Loop, now: datetime) -> Plan:
    """One turn: news in, one decision, one commit, and only then the calls."""
    news = loop.inbox.take()
    for report in news.reports:
        loop.dispatch.landed(report)
    scope = Scope(news, *loop.agenda.next(news, loop.limits, now))
    try:
        return await turn(loop, scope, now)
    except StateError:
        loop.inbox.put_back(news)
        loop.agenda.again(scope.tasks, scope.identities, scope.triggers)
        raise
    except Exception:
        log.exception("a turn failed; its tasks are tried one by one")
        return await one_by_one(loop, scope, now)


async def turn(loop: Loop, scope: Scope, now: datetime) -> Plan:
    """Decide about one scope, write it, and begin what it orders."""
    news = scope.news
    written, observed, planned = _decided(loop, scope, now)
    while older := loop.agenda.older(planned.entered, {*scope.tasks, *observed.snapshot.tasks}):
        scope = replace(scope, tasks=tuple(dict.fromkeys([*scope.tasks, *older])))
        written, observed, planned = _decided(loop, scope, now)
    changes: list[Change] = [*written, *planned.changes, *loop.agenda.activation(), *_source(news)]
    committed = await loop.commit(changes, now)
    for pins, program in planned.programs.items():
        loop.programs.remember(pins, program)
    known = {**observed.snapshot.tasks, **committed.snapshot.tasks}  # an empty commit answers with nothing
    loop.agenda.settle(planned, known, scope.tasks, now, committed.snapshot.triggers.values())
    for report in news.reports:
        if _recorded(report, known):
            loop.dispatch.release(report)
    loop.dispatch.begin(planned.orders, now)
    loop.ticks += 1
    loop.tell(committed)
    return planned


def _decided(loop: Loop, scope: Scope, now: datetime) -> tuple[Sequence[TaskChange | TriggerChange], Observed, Plan]:
    """What is written of the news, the slice of the world before it, and what happens next."""
    asked, observed = _asked(scope.news.changes, loop.widened(scope, now), now)
    judged = loop.judge(scope.news, observed, now)
    return [*asked, *judged], observed, plan(loop.agenda.desired, observed.after(judged, now), now)


async def one_by_one(loop: Loop, scope: Scope, now: datetime) -> Plan:
    """The same scope in small turns; what still fails is left alone until the next start, and named."""
    plans = []
    if len(scope.triggers) > 1:
        loop.agenda.singly(scope.triggers)
    alone = [scope.of_triggers()] if len(scope.triggers) == 1 else []
    for part in (scope.of_asked(), *alone, scope.of_files(), *map(scope.of, scope.tasks)):
        try:
            plans.append(await turn(loop, part, now))
        except StateError:
            raise
        except Exception:
            loop.agenda.quarantine(part.tasks, part.triggers)
            log.exception("something is left alone until the next start", tasks=part.tasks, triggers=part.triggers)
    actions = tuple(action for each in plans for action in each.actions)
    return Plan(actions, frozenset(uid for each in plans for uid in each.parked))


def _goes_on(record: TaskRecord) -> bool:
    """A failed task may be taken up again by a commit."""
    return record.live or record.phase is TaskPhase.FAILED


def _asked(
    changes: Iterable[TaskChange | TriggerChange], observed: Observed, now: datetime
) -> tuple[list[TaskChange | TriggerChange], Observed]:
    """What was asked for and still fits, and the world after it; what was asked for twice fits once.

    A run whose file is compared in this turn is not let go in it: retention asks again.
    """
    fitting: list[TaskChange | TriggerChange] = []
    for change in changes:
        if isinstance(change, TriggerChange):
            if _waits_for_it(change, observed):
                observed = observed.after([change], now)
                fitting.append(change)
            continue
        task = observed.snapshot.tasks.get(uid_of(change))
        compared = task is not None and task.record.identity in observed.identities
        if task is None or (compared and isinstance(change, Retired)):
            continue
        try:
            observed = observed.after([change], now)
        except IllegalTransition as error:
            log.warning("what was asked for does not fit any more", uid=task.record.uid, error=str(error))
        else:
            fitting.append(change)
    return fitting, observed


def _recorded(report: Report, tasks: Mapping[Uid, TaskSnapshot]) -> bool:
    """Whether the handle that a report tells of is on disk; one that was judged too late is not."""
    task, told = tasks.get(report.uid), report.observation
    attempt = task.attempts.get(report.path) if task else None
    if attempt is None or not isinstance(told, Running):
        return False
    return (attempt.number, attempt.call, attempt.handle) == (report.attempt, report.call, told.handle)


def _waits_for_it(change: TriggerChange, observed: Observed) -> bool:
    trigger = observed.snapshot.triggers.get(trigger_of(change))
    return trigger is not None and trigger.phase is TriggerPhase.UNADOPTED


def _subject(change: TaskChange | TriggerChange) -> Uid:
    return trigger_of(change) if isinstance(change, TriggerChange) else uid_of(change)


def _source(news: News) -> Iterable[Change]:
    return [news.source] if news.source else []
