"""Concurrency groups: never more in a group than its limit, the oldest first, and nobody waits where there is room."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from definitions.program import Program, Rule
from reconciler.position import locate
from state.phases import STARTING_TASKS
from state.records import StepRecord, TaskSnapshot, Uid
from state.room import QUEUED_FOR_GROUP

Tasks = Mapping[Uid, TaskSnapshot]
Programs = Callable[[tuple[str, ...]], Program]


class Entrant(NamedTuple):
    """Who took a place in a group with a commit: a run, or (`works`) an attempt."""

    group: str
    limit: int
    works: bool
    who: str


def entered_wrongly(known: Mapping[Uid, TaskSnapshot | None], tasks: Tasks, programs: Programs) -> Iterator[str]:
    """What is wrong about the places that were taken with one commit; `known` are its tasks as they were before."""
    came = [each for uid, before in known.items() for each in _entrants(before, tasks[uid], programs)]
    for group, works in {(each.group, each.works) for each in came}:
        entrants = sorted(each for each in came if (each.group, each.works) == (group, works))
        before = (_working if works else holders)(group, tasks) - len(entrants)
        for count, each in enumerate(entrants, before + 1):  # whoever has the lowest limit may have come first
            if count > each.limit:
                yield f"{each.who} is number {count} of {each.limit} in {group}"
    for uid, earlier in known.items():
        record = tasks[uid].record
        if record.entered and not (earlier and earlier.record.entered) and programs(record.pins).rule:
            older = [each for each in _waiting(record.group, tasks) if each.record.number < record.number]
            if older:
                yield f"{record.name} takes a place of {record.group} before {older[0].record.name}, which is older"


def _entrants(before: TaskSnapshot | None, after: TaskSnapshot, programs: Programs) -> Iterator[Entrant]:
    record = after.record
    if record.entered and not (before and before.record.entered) and (rule := programs(record.pins).rule):
        yield Entrant(record.group, rule.limit, False, record.name)
    for path, row in after.steps.items():
        known = before.steps.get(path) if before else None
        if row.holds and not (known and known.holds) and (rule := _rule_of(after, row, programs)):
            yield Entrant(row.group, rule.limit, False, f"{record.name} {path}")
    for path, attempt in after.attempts.items():
        earlier = before.attempts.get(path) if before else None
        if not attempt.ended and (earlier is None or earlier.number != attempt.number):
            unit = locate(programs(record.pins), path).unit
            if unit and unit.rule:
                yield Entrant(attempt.job, unit.rule.limit, True, f"{record.name} {path}")


def may_wait(task: TaskSnapshot, tasks: Tasks, programs: Programs) -> bool:
    """Whether a task that stands still does so because its group, or that of one of its workflows, is full."""
    record = task.record
    if record.in_line:
        rule = programs(record.pins).rule
        ahead = any(each.record.number < record.number for each in _waiting(record.group, tasks))
        return rule is not None and (ahead or holders(record.group, tasks) >= rule.limit)
    rows = [row for row in task.steps.values() if row.reason == QUEUED_FOR_GROUP]
    return any(_finds_no_place(task, row, tasks, programs) for row in rows)


def _finds_no_place(task: TaskSnapshot, row: StepRecord, tasks: Tasks, programs: Programs) -> bool:
    if any(each.record.number < task.record.number for each in _with_a_step_in(row.group, tasks)):
        return True
    node = locate(programs(task.record.pins), row.path)
    rule = node.unit.rule if node.unit else _rule_of(task, row, programs)
    count = _working(row.group, tasks) if node.unit else holders(row.group, tasks)
    return rule is not None and count >= rule.limit


def _with_a_step_in(group: str, tasks: Tasks) -> list[TaskSnapshot]:
    """The tasks that go on and have a step that waits for a place in the group."""
    able = [task for task in tasks.values() if task.record.phase in STARTING_TASKS and not task.record.held]
    return [
        task for task in able if any(r.group == group and r.reason == QUEUED_FOR_GROUP for r in task.steps.values())
    ]


def holders(group: str, tasks: Tasks) -> int:
    """How many runs of workflows have a place in the group: tasks, and steps that run one."""
    runs = sum(task.record.entered and task.record.group == group for task in tasks.values())
    return runs + sum(row.holds and row.group == group for task in tasks.values() for row in task.steps.values())


def _working(group: str, tasks: Tasks) -> int:
    """How many attempts have a place in the group: what has not ended, and what may still run for all that is known."""
    runs = sum(each.job == group and not each.ended for task in tasks.values() for each in task.attempts.values())
    return runs + sum(row.keeps and row.group == group for task in tasks.values() for row in task.steps.values())


def _waiting(group: str, tasks: Tasks) -> list[TaskSnapshot]:
    return [task for task in tasks.values() if task.record.in_line and task.record.pins and task.record.group == group]


def _rule_of(task: TaskSnapshot, row: StepRecord, programs: Programs) -> Rule | None:
    body = locate(programs(task.record.pins), row.path).node.body
    return body.rule if body else None
