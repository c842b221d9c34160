"""Concurrency groups: never more in a group than its limit, the oldest first, and nobody waits where there is room."""

from collections.abc import Callable, Iterator, Mapping

from definitions.program import Program, Rule
from reconciler.position import locate
from state.phases import StepPhase
from state.records import AttemptRecord, StepRecord, TaskSnapshot, Uid
from state.room import QUEUED_FOR_GROUP

Tasks = Mapping[Uid, TaskSnapshot]
Programs = Callable[[tuple[str, ...]], Program]


def entered_wrongly(
    before: TaskSnapshot | None, after: TaskSnapshot, tasks: Tasks, programs: Programs
) -> Iterator[str]:
    """What is wrong about the places that a task, its sub-workflows and its attempts took with one commit."""
    record = after.record
    if record.entered and not (before and before.record.entered):
        if rule := programs(record.pins).rule:
            yield from _crowded(record.group, rule, holders(record.group, tasks), record.name)
            older = [each for each in _waiting(record.group, tasks) if each.record.number < record.number]
            if older:
                yield f"{record.name} takes a place of {record.group} before {older[0].record.name}, which is older"
    for path, row in after.steps.items():
        known = before.steps.get(path) if before else None
        if row.holds and not (known and known.holds) and (rule := _rule_of(after, row, programs)):
            yield from _crowded(row.group, rule, holders(row.group, tasks), f"{record.name} {path}")
    for path, attempt in after.attempts.items():
        earlier = before.attempts.get(path) if before else None
        if not attempt.ended and (earlier is None or earlier.number != attempt.number):
            unit = locate(programs(record.pins), path).unit
            if unit and unit.rule:
                yield from _crowded(attempt.job, unit.rule, _working(attempt, tasks), f"{record.name} {path}")


def may_wait(task: TaskSnapshot, tasks: Tasks, programs: Programs) -> bool:
    """Whether a task that stands still does so because its group, or that of one of its workflows, is full."""
    record = task.record
    if record.in_line:
        rule = programs(record.pins).rule
        ahead = any(each.record.number < record.number for each in _waiting(record.group, tasks))
        return rule is not None and (ahead or holders(record.group, tasks) >= rule.limit)
    rows = [row for row in task.steps.values() if row.reason == QUEUED_FOR_GROUP and row.phase is StepPhase.QUEUED]
    rules = [(row, _rule_of(task, row, programs)) for row in rows]
    return any(rule is not None and holders(row.group, tasks) >= rule.limit for row, rule in rules)


def holders(group: str, tasks: Tasks) -> int:
    """How many runs of workflows have a place in the group: tasks, and steps that run one."""
    runs = sum(task.record.entered and task.record.group == group for task in tasks.values())
    return runs + sum(row.holds and row.group == group for task in tasks.values() for row in task.steps.values())


def _working(attempt: AttemptRecord, tasks: Tasks) -> int:
    every = (each for task in tasks.values() for each in task.attempts.values())
    return sum(each.job == attempt.job and not each.ended for each in every)


def _waiting(group: str, tasks: Tasks) -> list[TaskSnapshot]:
    return [task for task in tasks.values() if task.record.in_line and task.record.pins and task.record.group == group]


def _crowded(group: str, rule: Rule, count: int, who: str) -> Iterator[str]:
    if count > rule.limit:
        yield f"{who} is number {count} of {rule.limit} in {group}"


def _rule_of(task: TaskSnapshot, row: StepRecord, programs: Programs) -> Rule | None:
    body = locate(programs(task.record.pins), row.path).node.body
    return body.rule if body else None
