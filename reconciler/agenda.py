"""What the next tick is about: who reported, who wakes, whose file changed, who waits for room.

Everything here is derived from the store and may be lost: a start looks at all that is not over. So this is memory,
never state.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from definitions.desired import Complete, Desired, Unavailable
from reconciler.actions import Plan
from reconciler.inbox import News, in_one
from reconciler.observed import Limits
from reconciler.plan.triggers import CLOCK_BACK
from state.changes import Activated, AttemptAdvanced, Change, StepAdvanced, TaskAdvanced
from state.phases import Signal, StepPhase
from state.records import Cause, Identity, TaskSnapshot, TriggerRecord, Uid
from state.store import Store

SLICE = 1000
"""Task files compared, and tasks woken, in one tick: a revision that brings more is worked off in several."""
IN_LINE = 16
"""Tasks that are asked in one tick for a place in one group of workflows."""
SET_BACK = timedelta(minutes=1)
"""A clock that went back by more is noticed: whoever sleeps by it would sleep so much longer."""
_BREATH = timedelta(seconds=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

log = structlog.get_logger("reconciler.agenda")


class Agenda:
    """The tasks and files that wait for a tick, and the desired state that they are compared with."""

    def __init__(self, store: Store) -> None:
        self.desired: Desired = Unavailable("NotRead", "the source has not been read yet")
        self.next_wake: datetime | None = None  # None: nothing waits for a time
        self.served = ""  # the namespace that was given room last
        self._store = store
        self._files: deque[Identity] = deque()
        self._triggers: OrderedDict[Identity, None] = OrderedDict()
        self._single = 0  # so many of them come one at a time
        self._changed: set[str] = set()
        self._clock = _LONG_AGO  # the latest time that was told
        self._sleepers: dict[Uid, timedelta] = {}  # by how much they would sleep too long
        self._activation: Activated | None = None
        self._dirty: OrderedDict[Uid, None] = OrderedDict()
        self._parked: OrderedDict[Uid, bool] = OrderedDict()  # whether it waits for a place in a group alone
        self._freed: dict[str, None] = {}  # groups of workflows in which there may be a place
        self._untried = 0  # of those in line: how many may find room since the last report
        self._quarantined: set[Uid] = set()
        self._quarantined_triggers: set[Identity] = set()

    def start(self, now: datetime, last: datetime | None = None) -> None:
        """Everything that is not over is looked at once: that is the whole of recovery.

        `last` is when a controller of this state was last seen to live, by the same clock.
        """
        self._clock = last or _LONG_AGO
        self._remember([*self._store.live(), *self._store.unfinished()])
        self._remember(attempt.uid for attempt in self._store.uncleaned())
        self.next_wake = now

    @property
    def pressing(self) -> bool:
        """Another tick would find something to do at once."""
        in_line = self._untried and self._parked
        known = isinstance(self.desired, Complete)
        return bool(
            self._dirty or self._freed or self._sleepers or in_line or (known and (self._files or self._triggers))
        )

    @property
    def empty(self) -> bool:
        """Nothing is to be compared, woken or let in, now or later; the next time of a trigger is no work yet.

        Where nothing else is under way, who waits for a place in a group waits for a person.
        """
        if self.pressing or not all(self._parked.values()):
            return False
        _, wake = self._store.due(_LONG_AGO, 0)  # the one in memory may be of something that has ended since
        return wake is None

    def next(
        self, news: News, limits: Limits, now: datetime
    ) -> tuple[tuple[Uid, ...], tuple[Identity, ...], tuple[Identity, ...]]:
        """(the tasks, the identities of files, the triggers) of the next tick."""
        if news.desired is not None:
            self.desired = self._with_hold(news.desired)
            self.next_wake = now  # a trigger may have become due while there was nothing to tell what it makes
        self._note_clock(now)
        self._wake_earlier(news)
        self._triggers.update(dict.fromkeys(news.triggers))
        self._changed |= news.changed
        self._activation = in_one(self._activation, news.activation)
        self._files.extend(news.identities)
        if news.reports:
            self._untried = len(self._parked)
        found = dict.fromkeys(report.uid for report in news.reports)
        found.update(dict.fromkeys([*news.tasks, *self._woken(now), *self._next_dirty(), *self._next_in_line(limits)]))
        found.update(dict.fromkeys(self._next_of_groups()))
        return tuple(uid for uid in found if uid not in self._quarantined), self._next_files(), self._next_triggers()

    def settle(
        self,
        planned: Plan,
        known: Mapping[Uid, TaskSnapshot],
        tasks: Iterable[Uid],
        now: datetime,
        triggers: Iterable[TriggerRecord] = (),
    ) -> None:
        """After a commit: who waits in line, and when the next one wakes. `known` holds `tasks` as they are now.

        `triggers` are those that were decided about, as they are now.
        """
        if not (self._files or self._triggers) and isinstance(self.desired, Complete):
            self._activation = None
            self._changed.clear()
        for uid in planned.parked:
            self._parked[uid] = uid in planned.patient
        if planned.served:
            self.served, self._untried = planned.served, 0
        if planned.freed and any(_stops(change) for change in planned.changes):
            self._untried = len(self._parked)  # who was asked in this turn saw its places taken
        self._files.extend(sorted(planned.again))
        self._triggers.update(dict.fromkeys(sorted(planned.triggers)))
        self._remember(sorted(planned.look))
        self._freed.update(dict.fromkeys(sorted(planned.freed)))
        touched = dict.fromkeys([*tasks, *(action.uid for action in planned.actions)])
        wakes = [_later(known[uid].wake_at, now) for uid in touched if uid in known]
        wakes += [_later(trigger.wake_at, now) for trigger in triggers]
        self.next_wake = min((time for time in (self.next_wake, *wakes) if time), default=None)

    def offer_room(self) -> None:
        """The limits have changed: those who wait in line are to be asked again."""
        self._untried = len(self._parked)

    def again(self, tasks: Iterable[Uid], identities: Iterable[Identity], triggers: Iterable[Identity] = ()) -> None:
        """A turn could not be written: the same tasks, files and triggers are to be looked at again."""
        self._remember(tasks)
        self._files.extend(identities)
        self._triggers.update(dict.fromkeys(triggers))

    def singly(self, triggers: Iterable[Identity]) -> None:
        """One of these triggers cannot be decided about: each gets a turn of its own, the next ones."""
        self._triggers.update(dict.fromkeys(triggers))
        self._single = len(self._triggers)

    def quarantine(self, tasks: Iterable[Uid], triggers: Iterable[Identity] = ()) -> None:
        """Leave these tasks and triggers alone until the next start."""
        self._quarantined.update(tasks)
        self._quarantined_triggers.update(triggers)

    def decided(self, now: datetime) -> None:
        """A person has decided about the older database: times that come from here on have not fired before."""
        if isinstance(self.desired, Complete):
            self.desired = replace(self.desired, looked_at=now)

    @property
    def changed(self) -> frozenset[str]:
        """The paths that the revisions changed about which some trigger has not decided."""
        return frozenset(self._changed)

    def activation(self) -> list[Change]:
        """The revision itself, once all that it asks for is part of this commit or of earlier ones."""
        return [self._activation] if self._activation and not (self._files or self._triggers) else []

    def _with_hold(self, desired: Desired) -> Desired:
        """What a cold start holds stays held, even if the next revision comes before all its files were compared."""
        holding = isinstance(self.desired, Complete) and self.desired.hold and self._files
        return replace(desired, hold=True) if holding and isinstance(desired, Complete) else desired

    def _remember(self, tasks: Iterable[Uid]) -> None:
        self._dirty.update(dict.fromkeys(tasks))

    def _woken(self, now: datetime) -> list[Uid]:
        if self.next_wake is None or self.next_wake > now:
            return []
        woken, self.next_wake = self._store.due(now, SLICE)
        if isinstance(self.desired, Complete):
            due, later = self._store.due_triggers(now, SLICE)
            self._triggers.update(dict.fromkeys(due))
            self.next_wake = min((time for time in (self.next_wake, later) if time), default=None)
        return woken

    def _note_clock(self, now: datetime) -> None:
        """After a clock that was far ahead has been put right, what it decided too early is looked at again.

        Whoever sleeps is to sleep no longer than was meant, but for times that a definition names.
        """
        if now + SET_BACK < self._clock:
            back = self._clock - now
            self._triggers.update(dict.fromkeys(self._store.early_triggers(now + CLOCK_BACK)))
            for uid in self._store.sleeping(now):
                self._sleepers[uid] = self._sleepers.get(uid, timedelta()) + back
            log.warning(
                "the clock went back; polls and retries keep their intervals", seconds=round(back.total_seconds())
            )
            self._clock = self.next_wake = now
        self._clock = max(self._clock, now)

    def _wake_earlier(self, news: News) -> None:
        """The times of those who would sleep too long, as changes of the next turn."""
        some = {uid: self._sleepers.pop(uid) for uid in list(self._sleepers)[:SLICE]}
        for uid, task in self._store.snapshot(some).tasks.items() if some else ():
            news.changes += _earlier(task, some[uid])
            news.tasks.append(uid)

    def _next_dirty(self) -> list[Uid]:
        return [self._dirty.popitem(last=False)[0] for _ in range(min(SLICE, len(self._dirty)))]

    def _next_in_line(self, limits: Limits) -> list[Uid]:
        """Some of those that wait for room, when there may be some: not all, or each end would cost them all.

        The rest of the line has its turn as long as nobody found room, so that one crowded group keeps nobody else out.
        """
        most = len(self._parked) if limits.total is None else max(8, 2 * limits.total)
        count = min(most, self._untried, len(self._parked))
        self._untried -= count
        return [self._parked.popitem(last=False)[0] for _ in range(count)]

    def _next_of_groups(self) -> list[Uid]:
        """The first in line for each workflow that ended or began: those behind them are asked when these have begun."""
        groups = list(self._freed)
        self._freed.clear()
        return self._store.lines.first(groups, IN_LINE) if groups else []

    def rivals(self, groups: Collection[str]) -> list[Uid]:
        """The tasks that have a place in one of `groups` or stand in line for it, but for those that are left alone."""
        return [uid for uid in self._store.lines.rivals(groups) if uid not in self._quarantined]

    def older(self, entered: Mapping[str, int], known: Collection[Uid]) -> list[Uid]:
        """The tasks not `known` that are before those who take so many places in each group: in line the oldest is first."""
        found = (uid for group, count in entered.items() for uid in self._store.lines.first([group], count))
        return [uid for uid in found if uid not in known and uid not in self._quarantined]

    def _next_files(self) -> tuple[Identity, ...]:
        if not isinstance(self.desired, Complete):
            return ()
        return tuple(self._files.popleft() for _ in range(min(SLICE, len(self._files))))

    def _next_triggers(self) -> tuple[Identity, ...]:
        if not isinstance(self.desired, Complete):
            return ()
        count = min(1 if self._single else SLICE, len(self._triggers))
        self._single = max(0, self._single - 1)
        found = [self._triggers.popitem(last=False)[0] for _ in range(count)]
        return tuple(identity for identity in found if identity not in self._quarantined_triggers)


def _stops(change: Change) -> bool:
    """Whether it ends a task for good, and lets go of the places of what may still run of it."""
    return isinstance(change, TaskAdvanced) and change.signal is Signal.STOP


def _earlier(task: TaskSnapshot, back: timedelta) -> Iterator[AttemptAdvanced | StepAdvanced]:
    """The same task with the times that follow from an interval moved by `back`; what a wait is for stays as it is."""
    uid, cause = task.record.uid, Cause("timer", message="the clock went back")
    for path, attempt in task.attempts.items():
        if attempt.wake_at and not attempt.ended:
            yield AttemptAdvanced(uid, path, None, cause, message=attempt.message, wake_at=attempt.wake_at - back)
    for path, step in task.steps.items():
        if step.wake_at and step.phase is StepPhase.RETRYING:
            yield StepAdvanced(uid, path, None, cause, step.reason, step.message, wake_at=step.wake_at - back)


def _later(wake: datetime | None, now: datetime) -> datetime | None:
    """When to look again; a time that has passed and changed nothing counts a breath later, not at once."""
    return max(wake, now + _BREATH) if wake and wake <= now else wake
