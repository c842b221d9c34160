"""Whether a task, and what is around one of its steps, listen to what a commit says, before the step is looked at.

A task listens while something of it may still begin. A step is found by its path, and nothing is to be said of it any
more where others have gone on without it.
"""

from typing import Final

from definitions.program import Node, Program
from reconciler.failures import BROKEN
from reconciler.plan.sayings import ANEW, CLAIMS, PENDING, REFUSED, STALE, Remark, Said
from reconciler.position import Position, finding, items_of, locate
from state.phases import ENDED_STEPS, StepPhase, TaskPhase
from state.records import TaskRecord, TaskSnapshot

DID: Final = {
    StepPhase.SUCCEEDED: "it has succeeded",
    StepPhase.SKIPPED: "it was skipped",
    StepPhase.FAILED: "it has failed",
    StepPhase.LOST: "its outcome is unknown",
    StepPhase.CANCELLED: "it was stopped",
    StepPhase.RETRYING: "it is tried again anyway",
    StepPhase.QUEUED: "it is about to begin",
    StepPhase.WAITING: "it has not begun",
    StepPhase.RUNNING: "it runs",
}


def closed(record: TaskRecord, program: Program | None) -> Remark | None:
    """Why the task listens to nothing, for ever or for now. `program` is None where its definitions are not known."""
    if record.phase in {TaskPhase.REVOKING, TaskPhase.REVOKED} or record.control.get("state") == "revoked":
        return Remark(STALE, "the task is revoked")
    if record.phase is TaskPhase.FINISHED:
        return Remark(STALE, "the task has finished")
    if record.held or record.phase is TaskPhase.UNADOPTED:
        return Remark(PENDING, "the task waits for `reconciler adopt`")
    if record.phase is TaskPhase.REMOVED:
        return Remark(PENDING, "the task's file was removed")
    if program is None:
        return Remark(PENDING, "the task waits for its definition")
    return None


def place_of(task: TaskSnapshot, program: Program, said: Said) -> Position | Remark | None:
    """The place that is meant; None where nothing is to be compared with it."""
    if said.verb == "expect":
        return None if _expectable(program.whole, said.path) else _unknown(program)
    try:
        position = locate(program, said.path)
    except KeyError:
        return _unknown(program)
    return _missing_item(task, position, said) or _left(task, position) or position


def _expectable(nodes: tuple[Node, ...], path: str) -> bool:
    """Whether a definition has such a step; what is expected goes for every item of a list."""
    for name in (part for part in path.split(".") if not part.isdigit()):
        node = next((each for each in nodes if each.name == name), None)
        if node is None:
            return False
        nodes = node.inner
    return True


def _unknown(program: Program) -> Remark:
    return Remark(REFUSED, f"there is no such step; there are {', '.join(node.name for node in program.whole)}")


def _missing_item(task: TaskSnapshot, position: Position, said: Said) -> Remark | None:
    """A list has its items when it begins, and nothing of them has happened before."""
    each: Position | None = position
    while each is not None:
        if each.item is not None and each.holder is not None:
            if not _listed(task, each.holder):
                if said.verb in CLAIMS:
                    return Remark(REFUSED, f"when this was seen, {each.holder.path} had no items yet; {ANEW}")
                return Remark(PENDING, f"the list of {each.holder.path} is not known yet")
            if each.item >= (count := len(items_of(task, each.holder))):
                return Remark(REFUSED, f"{each.holder.path} has {count} items, counted from 0")
        each = each.around
    return None


def _listed(task: TaskSnapshot, holder: Position) -> bool:
    """Whether the items of a list are known."""
    row = task.steps.get(holder.path)
    return not finding(task, holder) if holder.finder else row is not None and "items" in row.inputs


def _left(task: TaskSnapshot, position: Position) -> Remark | None:
    """Where others have gone on without the step: it is part of something that is over, or is being closed."""
    each = position
    while (around := each.around) is not None:
        row = task.steps.get(around.path)
        if row is not None and row.phase in ENDED_STEPS - BROKEN:
            return Remark(STALE, f"{around.path} is over without it: {DID[row.phase]}")
        if row is not None and row.phase in BROKEN and (remark := passed_by(task, around)):
            return remark
        each = around
    return None


def closing(task: TaskSnapshot, position: Position) -> Remark | None:
    """While the step at the end of a workflow runs, nothing else of that workflow begins again."""
    for frame in position.frames:
        last = frame.exit
        row = task.steps.get(last.path) if last and not position.within(last) else None
        if last and row and row.phase in {StepPhase.RUNNING, StepPhase.RETRYING}:
            return Remark(PENDING, f"{last.path}, the step at the end, runs")
    return None


def passed_by(task: TaskSnapshot, position: Position) -> Remark | None:
    """What follows a step that may fail has begun without it, and read what it did not give."""
    for each in position.after if position.node.continue_on_error else ():
        row = task.steps.get(each.path)
        if row is not None and row.phase is not StepPhase.WAITING:
            return Remark(STALE, f"{each.path} has gone on without it")
    return None
