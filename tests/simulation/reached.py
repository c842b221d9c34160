"""What of all that is possible a commit shows, by the names of `sometimes`."""

from collections.abc import Iterator

from state.changes import Activated, Change, Noted, Released, SourceReported, TaskAdvanced
from state.phases import ENDED_STEPS, AttemptPhase, StepPhase
from state.records import StepRecord, TaskSnapshot
from state.room import QUEUED_FOR_GROUP, REPLACED
from state.triggers import Fired, Skipped, TriggerSeen

_KINDS = {"items": "list", "params": "sub-workflow", "until": "wait", "state": "step at the end"}


def in_change(change: Change) -> Iterator[str]:
    """Slots, sources, controls that do not fit, and tasks that wait for each other."""
    match change:
        case Fired() | Skipped():
            yield f"slot {change.reason}"
        case TriggerSeen():
            yield f"trigger {change.reason}"
        case Released():
            yield "task released"
        case Activated() | SourceReported():
            yield from (f"source {each['type']}" for each in change.source.conditions if each["status"] == "True")
        case Noted():
            yield from (f"control {each}" for each in change.conditions)
        case TaskAdvanced(reason=reason) if reason in {REPLACED, "Skipped", QUEUED_FOR_GROUP}:
            yield f"group {reason}"


def in_task(before: TaskSnapshot | None, task: TaskSnapshot) -> Iterator[str]:
    """What became of a task, of its steps and of its attempts."""
    old = before.record if before else None
    if old is None or old.phase is not task.record.phase:
        yield f"task {task.record.phase}"
    if task.record.entered and old and old.reason == QUEUED_FOR_GROUP and not old.entered:
        yield "group let in"
    for path, step in task.steps.items():
        known = before.steps.get(path) if before else None
        inside = " inside a workflow" if _inside(task, path) else ""
        if step.reason == REPLACED and not (known and known.reason == REPLACED):
            yield from {"group step replaced", f"group step replaced{inside}"}
        if known is None or known.phase is not step.phase:
            yield f"step {step.phase}"
            yield from _structure(step)
            attempt = task.attempts.get(path)
            if attempt and attempt.phase is AttemptPhase.LOST and step.phase is not StepPhase.RUNNING:
                yield f"onLost: step {step.phase}"
            if step.reason == "GroupBusy":
                yield from {"group step skipped", f"group step skipped{inside}"}
    for path, attempt in task.attempts.items():
        earlier = before.attempts.get(path) if before else None
        if attempt.resends and (earlier is None or earlier.resends < attempt.resends):
            yield "onLost: the same call again"


def _inside(task: TaskSnapshot, path: str) -> bool:
    """Whether a step is one of a workflow that another one runs."""
    around = (path[:at] for at, letter in enumerate(path) if letter == ".")
    return any("params" in row.inputs for row in map(task.steps.get, around) if row)


def _structure(step: StepRecord) -> Iterator[str]:
    """Lists, sub-workflows, waits and what runs at the end, by how they end."""
    if step.phase in ENDED_STEPS:
        yield from (f"{_KINDS[kind]} {step.phase}" for kind in _KINDS.keys() & step.inputs.keys())
