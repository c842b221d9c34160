"""A run that continues with other definitions because a commit says so: `control.repin`.

What has begun keeps its place, so every step that has begun must still be there; what failed before it could begin has
not begun. The commit is named by its author, and what it says must be what is in force: nothing older is kept anywhere
but in the runs that use it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from definitions.definition import Definition
from definitions.desired import Complete, Desired
from definitions.library import Unresolved
from definitions.params import ParamError, bind
from definitions.program import Program
from definitions.revision import Blob
from reconciler.actions import Action
from reconciler.observed import pins_of
from reconciler.plan.listening import closed
from reconciler.plan.reopening import reopened, taken_up
from reconciler.plan.sayings import PENDING, REFUSED, Remark
from reconciler.position import Position, locate
from state.asking import asked_by
from state.changes import OwnChange, Repinned, StepAdvanced, apply_one
from state.phases import ACTIVE_STEPS, Signal, StepPhase, TaskPhase
from state.records import EXIT, Cause, Json, StepRecord, TaskSnapshot

_NEVER_BEGUN = frozenset({"ExpressionError", "ParamError", "Unsupported"})
"""Reasons of steps that could not begin as they were written."""


@dataclass(frozen=True, slots=True)
class Repin:
    """It fits: what the task continues with."""

    closure: tuple[Definition, ...]
    program: Program
    params: dict[str, Json]


def repin_verdict(task: TaskSnapshot, program: Program | None, desired: Desired) -> Repin | Remark | None:
    """What becomes of `repin` now; None where it has taken effect, is not asked for, or the source cannot be asked."""
    record, wanted = task.record, str(task.record.control.get("repin", ""))
    if not wanted or record.repinned == wanted or not isinstance(desired, Complete):
        return None
    if remark := closed(record, program):
        return remark
    if last := _ending(task):
        return Remark(PENDING, f"{last}, the step at the end, is under way")
    if refused := _elsewhere(wanted, desired):
        return Remark(REFUSED, refused)
    file = desired.library.task(*record.identity)
    blocked = desired.library.unresolved(file) if file else "the task has no file"
    if blocked:
        return Remark(REFUSED, blocked)
    try:
        closure = desired.library.closure(record.kind, record.namespace, record.target)
        there = desired.library.program(record.kind, record.namespace, record.target)
    except Unresolved as error:  # the file of a task that a trigger made names no definition, and may outlive it
        return Remark(REFUSED, str(error))
    if changed := _changed(closure, wanted, desired):
        return Remark(
            REFUSED, f"{', '.join(changed)} changed since {wanted}, and only what is in force can be continued with"
        )
    return _fitting(task, cast("Program", program), closure, there)


@dataclass(frozen=True, slots=True)
class Repinning:
    """A task continues with `program`, whose definitions have the digests `pins`."""

    action: Action
    pins: tuple[str, ...]
    program: Program


def repinning(task: TaskSnapshot, program: Program | None, desired: Desired, now: datetime) -> Repinning | None:
    """What is to be done because `repin` fits now; None if nothing is."""
    found = repin_verdict(task, program, desired)
    if not isinstance(found, Repin):
        return None
    record, commit, cause = task.record, str(task.record.control["repin"]), asked_by(task.record, "repin")
    changes: list[OwnChange] = [Repinned(record.uid, pins_of(found.closure), found.params, commit, cause)]
    task, _ = apply_one(task, changes[0], now)
    changes += _begun_anew(task, found.program, cause, now)
    what = f"continues with the definitions at {commit}"
    action = Action("~", record.uid, f"{record.namespace}/{record.name}", what, tuple(changes))
    return Repinning(action, task.record.pins, found.program)


def _ending(task: TaskSnapshot) -> str:
    """The step that runs at the end of some workflow at the moment, which then has nothing else to do; "" if none."""
    ends = (path for path, row in task.steps.items() if EXIT in path.split(".") and row.phase in ACTIVE_STEPS)
    return min(ends, default="")


def _elsewhere(wanted: str, desired: Complete) -> str:
    """Why the commit is not to be had; "" if it is part of the history in force."""
    if wanted not in desired.since:
        return f"{wanted} is no commit that the revision in force, {desired.revision.commit[:12]}, descends from"
    return ""


def _changed(closure: tuple[Definition, ...], wanted: str, desired: Complete) -> list[str]:
    """The definitions that do not say now what they said at that commit, or whose file is rejected as it is."""
    blobs, differing = desired.library.tree.blobs, desired.since[wanted]
    return [
        f"{each.kind.lower()} `{each.name}` in {each.path}"
        for each in closure
        if each.identity in differing or not _in_force(each, blobs)
    ]


def _in_force(definition: Definition, blobs: Mapping[str, Blob]) -> bool:
    blob = blobs.get(definition.path)
    return blob is not None and blob.oid == definition.blob


def _fitting(task: TaskSnapshot, before: Program, closure: tuple[Definition, ...], program: Program) -> Repin | Remark:
    record = task.record
    for path, row in sorted(task.steps.items()):
        if row.phase is not StepPhase.WAITING and not _never_begun(task, row):
            if _differs(task, locate(before, path), _position(program, path)):
                return Remark(REFUSED, f"{path} has begun and is not the same step there")
    try:
        kept = {name: value for name, value in record.params.items() if name in program.params}
        return Repin(closure, program, bind(program.params, kept))
    except ParamError as error:
        return Remark(REFUSED, str(error))


def _differs(task: TaskSnapshot, here: Position, there: Position | None) -> bool:
    """Whether a step that has begun could not go on there: it is gone, of another kind, or runs by another driver."""
    if there is None:
        return True
    if task.steps[here.path].phase in {StepPhase.SUCCEEDED, StepPhase.SKIPPED}:
        return False
    attempt = task.attempts.get(here.path)
    same = (there.node.kind, there.is_list) == (here.node.kind, here.is_list)
    driver = there.unit.driver if there.unit else ""
    return not same or (attempt is not None and not attempt.ended and attempt.driver != driver)


def _never_begun(task: TaskSnapshot, row: StepRecord) -> bool:
    """It failed as it was written, before anything of it ran."""
    inside = any(path.startswith(f"{row.path}.") for path in task.steps)
    return row.phase is StepPhase.FAILED and row.reason in _NEVER_BEGUN and not row.attempt and not inside


def _begun_anew(task: TaskSnapshot, program: Program, cause: Cause, now: datetime) -> Iterator[OwnChange]:
    """What could not begin or end as it was written is tried as it is written now, in a task that failed with it, too."""
    for path, row in sorted(task.steps.items()):
        if _never_begun(task, row):
            yield StepAdvanced(row.uid, path, Signal.RESET, cause, inputs=taken_up(row, now))
            for change in list(reopened(task, program, _position(program, path), cause, now)):
                task, _ = apply_one(task, change, now)
                yield change
    if task.record.phase is TaskPhase.FAILED and task.record.reason in _NEVER_BEGUN:
        yield from reopened(task, program, None, cause, now)


def _position(program: Program, path: str) -> Position | None:
    """None for a step that is not part of what the task continues with."""
    try:
        return locate(program, path)
    except KeyError:
        return None
