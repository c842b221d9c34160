"""Attempts that make room for newer ones of their concurrency group: the newest of a group stay, as many as its limit.

Whoever waits came later than whoever has a place. What is told to end here is stopped by its own task, keeps its place
until it has, and is not tried again.
"""

from collections.abc import Iterator
from typing import NamedTuple

from definitions.program import Program
from reconciler.actions import Action
from reconciler.observed import Observed
from reconciler.position import locate
from state.changes import StepAdvanced
from state.phases import AttemptPhase, TaskPhase
from state.records import Cause, StepRecord, TaskRecord, TaskSnapshot
from state.room import QUEUED_FOR_GROUP, REPLACED

PLAN = Cause("plan")


class Comer(NamedTuple):
    """The newest step that waits to take the place of others in its group, and how many wait there."""

    record: TaskRecord
    row: StepRecord
    limit: int
    waiting: int


def comers(observed: Observed) -> dict[str, Comer]:
    """The groups in which a step waits that takes the place of older ones: all of these have to be seen."""
    found: dict[str, Comer] = {}
    for task in _oldest_first(observed):
        program = observed.programs.get(task.record.pins)
        for row in task.steps.values() if program else ():
            if program and row.group and row.reason == QUEUED_FOR_GROUP and not row.attempt:
                _join(found, task.record, row, program)
    return found


def _join(found: dict[str, Comer], record: TaskRecord, row: StepRecord, program: Program) -> None:
    unit = locate(program, row.path).unit
    before = found.get(row.group)
    waiting = 1 + (before.waiting if before else 0)
    if unit and unit.rule and unit.rule.policy == "replace":
        found[row.group] = Comer(record, row, unit.rule.limit, waiting)
    elif before:
        found[row.group] = before._replace(waiting=waiting)


def replaced(observed: Observed) -> Iterator[Action]:
    """The attempts that end for those that wait: the oldest of each group, as many as it has too many."""
    waits = comers(observed)
    holders: dict[str, list[tuple[TaskRecord, str]]] = {group: [] for group in waits}
    for task in _oldest_first(observed) if waits else ():
        for attempt in task.attempts.values():
            runs = not attempt.ended and attempt.phase is not AttemptPhase.CANCELLING
            if attempt.job in waits and (runs or task.steps[attempt.path].keeps):
                holders[attempt.job].append((task.record, attempt.path))
    for group, comer in waits.items():
        stay = max(comer.limit - comer.waiting, 0)
        rows = observed.snapshot.tasks
        for record, path in holders[group][: max(len(holders[group]) - stay, 0)]:
            if rows[record.uid].steps[path].reason != REPLACED and not _bound(record):
                yield (
                    _told(record, path, comer)
                    if not rows[record.uid].steps[path].keeps
                    else _passed(record, rows[record.uid].steps[path], comer)
                )


def _by(comer: Comer) -> str:
    return f"{comer.record.namespace}/{comer.record.name} {comer.row.path}"


def _passed(record: TaskRecord, row: StepRecord, comer: Comer) -> Action:
    """Nobody knows whether it runs, so there is nothing to stop: it only keeps its place no longer."""
    change = StepAdvanced(record.uid, row.path, None, PLAN, row.reason, row.message, group="")
    what = f"its place is taken by {_by(comer)}; it may still run"
    return Action("~", record.uid, f"{record.namespace}/{record.name} {row.path}", what, (change,))


def _told(record: TaskRecord, path: str, comer: Comer) -> Action:
    by = f"replaced by {_by(comer)}"
    change = StepAdvanced(record.uid, path, None, PLAN, REPLACED, by)
    return Action("~", record.uid, f"{record.namespace}/{record.name} {path}", by, (change,))


def _bound(record: TaskRecord) -> bool:
    """It is being revoked anyway, or a person has to decide about it first."""
    return record.phase is TaskPhase.REVOKING or bool(record.held)


def _oldest_first(observed: Observed) -> list[TaskSnapshot]:
    return sorted(observed.snapshot.tasks.values(), key=lambda task: task.record.number)
