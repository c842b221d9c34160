"""Many changes, in their order, over a snapshot: what is then, and what the store has to write for it.

What the planner sees after a change is, by construction, what a reader finds after the commit: both come from `apply`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from state.changes import (
    Activated,
    Admitted,
    AttemptAdvanced,
    Called,
    Change,
    Cleaned,
    Intended,
    Retired,
    SourceReported,
    StepAdvanced,
    TaskChange,
    apply_one,
    event_of,
    uid_of,
)
from state.phases import IllegalTransition
from state.records import AttemptRecord, Event, Snapshot, TaskSnapshot, Uid
from state.triggers import TriggerChange, apply_to_trigger, trigger_of
from state.usage import Meter


@dataclass(frozen=True, slots=True)
class Applied:
    """A snapshot after some changes, and what the store has to write for them."""

    snapshot: Snapshot
    events: tuple[Event, ...]
    tasks: frozenset[Uid]
    steps: frozenset[tuple[Uid, str]]
    attempts: tuple[AttemptRecord, ...]  # the last version of each, also of those that a newer attempt replaced
    retired: frozenset[Uid]
    triggers: frozenset[Uid] = frozenset()


def apply(snapshot: Snapshot, changes: Iterable[Change], at: datetime) -> Applied:
    """What `changes`, in their order, make of `snapshot` at the time `at`.

    Each change but Admitted must concern a task of the snapshot (KeyError). Raises IllegalTransition, also for a task
    that is admitted again after its definitions were pinned, for an attempt that follows an unfinished one, and for
    news of an ended one.
    """
    fold = _Fold(snapshot)
    for change in changes:
        if isinstance(change, TriggerChange):
            fold.add_trigger(change, at)
        elif not isinstance(change, Activated | SourceReported):
            fold.add(change, at)
    return fold.applied(snapshot)


class _Fold:
    """The running result of `apply`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.tasks = dict(snapshot.tasks)
        self.meter = Meter(snapshot.usage)
        self.events: list[Event] = []
        self.touched: set[Uid] = set()
        self.steps: set[tuple[Uid, str]] = set()
        self.attempts: dict[tuple[Uid, str, int], AttemptRecord] = {}
        self.retired: set[Uid] = set()
        self.triggers = dict(snapshot.triggers)
        self.decided: set[Uid] = set()

    def add_trigger(self, change: TriggerChange, at: datetime) -> None:
        uid = trigger_of(change)
        self.triggers[uid], event = apply_to_trigger(self.triggers.get(uid), change, at)
        self.decided.add(uid)
        self.events.append(event)

    def add(self, change: TaskChange, at: datetime) -> None:
        uid = uid_of(change)
        after: TaskSnapshot
        event: Event | None
        match change:
            case Admitted(task=record):
                _require_new(known := self.tasks.get(uid))
                if known:
                    self.meter.forget(known)
                    self.steps -= {(uid, path) for path in known.steps}
                after, event = TaskSnapshot(record), event_of(uid, at, "task", "", 0, "", change, record.phase)
                self.touched.add(uid)
            case Retired():
                _require_over(gone := self.tasks.pop(uid))
                self.meter.forget(gone)
                self.retired.add(uid)
                return
            case _:
                after, event = apply_one(self.tasks[uid], change, at)
                self._touch(change, self.tasks[uid], after)
        self.tasks[uid] = after
        if event is not None:
            self.events.append(event)

    def _touch(self, change: TaskChange, before: TaskSnapshot, after: TaskSnapshot) -> None:
        uid = after.record.uid
        match change:
            case StepAdvanced(path=path):
                self.steps.add((uid, path))
                self.meter.move_step(before.steps.get(path), after.steps[path])
                if after.record.entered != before.record.entered:
                    self.touched.add(uid)
                    self.meter.move_task(before.record, after.record)
            case Intended(attempt=AttemptRecord(path=path)):
                self.steps.add((uid, path))
                self._attempt(before.attempts.get(path), after.attempts[path])
            case Called(path=path) | AttemptAdvanced(path=path) | Cleaned(path=path):
                self._attempt(before.attempts[path], after.attempts[path])
            case _:
                self.touched.add(uid)
                self.meter.move_task(before.record, after.record)

    def _attempt(self, before: AttemptRecord | None, after: AttemptRecord) -> None:
        self.attempts[after.uid, after.path, after.number] = after
        self.meter.move(before, after)

    def applied(self, snapshot: Snapshot) -> Applied:
        if self.retired & {*self.touched, *(uid for uid, _ in self.steps), *(uid for uid, _, _ in self.attempts)}:
            raise IllegalTransition("a task is retired on its own, not together with another change of it")
        after = Snapshot(self.tasks, snapshot.runs, self.meter.usage(), snapshot.epoch, self.triggers)
        return Applied(
            after,
            tuple(self.events),
            frozenset(self.touched),
            frozenset(self.steps),
            tuple(self.attempts.values()),
            frozenset(self.retired),
            frozenset(self.decided),
        )


def _require_new(task: TaskSnapshot | None) -> None:
    """A task may be admitted again only while its definitions could not be resolved: then nothing of it has run."""
    if task and (task.record.pins or task.attempts):
        raise IllegalTransition(f"the task {task.record.namespace}/{task.record.name} was admitted before")


def _require_over(task: TaskSnapshot) -> None:
    if task.record.live or not all(each.ended for each in task.attempts.values()):
        raise IllegalTransition(f"the task {task.record.namespace}/{task.record.name} is not over")
