"""Tasks with a concurrency group: who of them begins, waits in line, is skipped, or makes room for a newer one.

A task has its place in its group from its begin to its end, whatever it does in between; so a group never has more
than its limit. In line the oldest comes first, each with the limit of its own definition. What `policy` says is for a task that comes to a full group for the
first time: one that has begun before (and was opened again by a commit) waits.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from definitions.program import Rule
from reconciler.actions import Action, Sign
from reconciler.observed import Observed
from reconciler.plan.beginning import revocation, started
from reconciler.position import locate
from state.changes import TaskAdvanced
from state.phases import STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, TaskRecord, Uid
from state.room import QUEUED_FOR_GROUP, REPLACED

PLAN = Cause("plan")


@dataclass(frozen=True, slots=True)
class Turns:
    """What becomes of those in line, and who of them is to be looked at again together with all others of its group.

    `waits` is the age of the oldest that stays in the line of each group.
    """

    actions: tuple[Action, ...] = ()
    look: frozenset[Uid] = frozenset()
    waits: Mapping[str, float] = field(default_factory=dict)


def turns(observed: Observed, now: datetime) -> Turns:
    """Decide about the tasks of `observed` that stand in line for a group."""
    groups = dict.fromkeys(record.group for record in _records(observed) if standing(record))
    if not groups:
        return Turns()
    desk = _Desk(observed, now)
    for group in groups:
        desk.serve(group)
    return Turns(tuple(desk.actions), frozenset(desk.look), desk.waits)


def standing(record: TaskRecord) -> bool:
    """Whether the task stands in line and may be decided about."""
    return record.in_line and bool(record.pins)


def replacing(observed: Observed) -> Iterator[str]:
    """The groups in which a task waits that takes the place of older ones: all of these have to be seen."""
    for record in _records(observed):
        if standing(record) and record.reason == QUEUED_FOR_GROUP and _replaces(record, _rule(observed, record)):
            yield record.group


class _Desk:
    """Where the lines of one turn are served, group after group."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.observed = observed
        self.now = now
        self.used = Counter(observed.snapshot.usage.runs)
        self.actions: list[Action] = []
        self.look: set[Uid] = set()
        self.waits: dict[str, float] = {}
        self.inner = _waiting_inside(observed)

    def serve(self, group: str) -> None:
        members = sorted(
            (each for each in _records(self.observed) if each.group == group and (each.live or each.entered)), key=_age
        )
        gone = {record.uid for record in self._replace(members)}
        for record in members:
            older = group in self.waits or self.inner.get(group, math.inf) < _age(record)
            if standing(record) and record.uid not in gone and self._turn(record, blocked=older):
                self.waits.setdefault(group, _age(record))

    def _turn(self, record: TaskRecord, *, blocked: bool) -> bool:
        """Serve the next in line; whether it stays there. `blocked`: an older one stays."""
        rule = _rule(self.observed, record)
        if rule is None or (not blocked and self.used[record.group] < rule.limit):
            self.used[record.group] += 1
            self.actions.append(started(record, self.observed.program(record), self.now))
            return False
        full = f"the group {record.group} is full: {self.used[record.group]} of {rule.limit}"
        full = f"others wait before it in the group {record.group}" if self.used[record.group] < rule.limit else full
        if rule.policy == "skip" and record.started_at is None:
            self._do("=", record, Signal.SUCCEED, "Skipped", f"skipped: {full}", f"skipped: {full}")
            return False
        if (record.phase, record.reason) != (TaskPhase.CREATED, QUEUED_FOR_GROUP):
            self._do("~", record, Signal.QUEUE, QUEUED_FOR_GROUP, full, f"queued: {full}")
            self.look |= {record.uid} if _replaces(record, rule) else set()
        return True

    def _replace(self, members: Sequence[TaskRecord]) -> Iterable[TaskRecord]:
        """Revoke what a newer task takes the place of: the newest tasks of the group stay, as many as its limit."""
        able = [each for each in members if standing(each) or (each.entered and not _bound(each))]
        rules = {each.uid: rule for each in able if standing(each) and (rule := _rule(self.observed, each))}
        newest = next((each for each in reversed(able) if _replaces(each, rules.get(each.uid))), None)
        if newest is None:
            return []
        older = able[: min(len(able) - rules[newest.uid].limit, able.index(newest) + 1)]
        last = able[-1]
        for record in older:
            by = f"replaced by {last.namespace}/{last.name}" + (f" run {last.run}" if last.run > 1 else "")
            self._do("x", record, revocation(self.observed.snapshot.tasks[record.uid]), REPLACED, by, by)
        return older

    def _do(self, sign: Sign, record: TaskRecord, signal: Signal, reason: str, message: str, what: str) -> None:
        change = TaskAdvanced(record.uid, signal, PLAN, reason, message)
        self.actions.append(Action(sign, record.uid, f"{record.namespace}/{record.name}", what, (change,)))


def _waiting_inside(observed: Observed) -> dict[str, float]:
    """By group: the age of the oldest task in which a workflow waits for its place."""
    found: dict[str, float] = {}
    for task in observed.snapshot.tasks.values():
        if task.record.phase in STARTING_TASKS and not task.record.held:
            for row in task.steps.values():
                if row.reason == QUEUED_FOR_GROUP and locate(observed.program(task.record), row.path).unit is None:
                    found[row.group] = min(found.get(row.group, math.inf), _age(task.record))
    return found


def _records(observed: Observed) -> Iterator[TaskRecord]:
    return (task.record for task in observed.snapshot.tasks.values())


def _rule(observed: Observed, record: TaskRecord) -> Rule | None:
    return observed.program(record).rule


def _replaces(record: TaskRecord, rule: Rule | None) -> bool:
    return rule is not None and rule.policy == "replace" and record.started_at is None


def _bound(record: TaskRecord) -> bool:
    """It is being revoked anyway, or a person has to decide about it first."""
    return record.phase is TaskPhase.REVOKING or bool(record.held)


def _age(record: TaskRecord) -> float:
    """Its number; a run that this very plan admits has none yet and comes last."""
    return record.number or math.inf
