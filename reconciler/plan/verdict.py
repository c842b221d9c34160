"""Whether what a commit says about a step fits what is: a comparison with what its author saw, and nothing else.

A control of a step names what was seen (an attempt, a digest) or what is wanted (skip). It fits, or there is a remark
that says why not, or it has taken effect already and there is nothing to say; it never raises. What claims that
something has happened (retry, resolve) is compared when the task listens for the first time, and never again in the
same words; what is wanted may come before its step.

| the task is | retry, skip, resolve, approve |
|---|---|
| created, running, suspended, failed | compared with the step |
| unadopted, held, waiting for a rejected definition, removed | `ControlPending`: compared when that is over |
| being revoked, revoked, finished | `ControlStale` |

| the step is | retry | skip | resolve | approve |
|---|---|---|---|---|
| waiting | refused | fits | refused | pending |
| queued, retrying | stale | fits | stale | - |
| running | refused | pending; fits where it only waits | refused | fits where it waits for it |
| failed, or cut off with its task's time | fits | fits | stale | stale |
| lost | pending: resolve it first | fits | fits | - |
| succeeded, skipped | stale | stale | stale | stale |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from definitions.program import Node, Program
from reconciler.approval import plan_digest
from reconciler.plan.outcome import BROKEN
from reconciler.plan.sayings import PENDING, REFUSED, STALE, Remark, Said, dismissed
from reconciler.position import Position, finding, items_of, locate
from state.phases import ENDED_STEPS, StepPhase, TaskPhase
from state.records import Json, StepRecord, TaskRecord, TaskSnapshot

RETRIED, RESOLVED = "retried", "resolved"
"""What the row of a step keeps of its answers: the number of the attempt that was answered."""
SKIPPED, APPROVED = "Skipped", "Approved"
"""The reasons of a step that ended so by a commit."""

_CLAIMS = frozenset({"retry", "resolve"})
"""What says that something has happened."""
_ANEW = "to say it anew, change its reason"
_DID = {
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


@dataclass(frozen=True, slots=True)
class Fits:
    """It takes effect now, at this place."""

    position: Position
    row: StepRecord


Verdict = Fits | Remark | None
"""None: it has taken effect already, or needs no answer."""


def verdict(task: TaskSnapshot, program: Program | None, said: Said) -> Verdict:
    """What becomes of `said` in `task` now. `program` is None where its definitions are not known, or no longer."""
    if remark := dismissed(task.record, said):
        return remark
    row = task.steps.get(said.path) or StepRecord(task.record.uid, said.path)
    if _done(said, row):
        return None
    if (said.verb != "expect" or program is None) and (remark := closed(task.record, program)):
        return remark
    found = _compared(task, cast("Program", program), said, row)
    if isinstance(found, Remark):
        return replace(found, final=_stays(said, found))
    return (_closing(task, found.position) or found) if found else None


def _compared(task: TaskSnapshot, program: Program, said: Said, row: StepRecord) -> Verdict:
    position = _position(task, program, said)
    if position is None or isinstance(position, Remark):
        return position
    compare = {"retry": _retry, "skip": _skip, "resolve": _resolve, "approve": _approve}[said.verb]
    return compare(task, position, row, said.about)


def _stays(said: Said, remark: Remark) -> bool:
    """Whether nothing that comes makes it count: it claims what was not so, or comes too late."""
    if said.verb in _CLAIMS:
        return remark.condition != PENDING
    return said.verb == "skip" and remark.condition == STALE


# -- before the step is looked at ----------------------------------------------------------------------------------------


def _done(said: Said, row: StepRecord) -> bool:
    """Whether it has taken effect, so that nothing is left to say."""
    match said.verb:
        case "retry":
            given = _number(row.inputs.get(RETRIED))
            return given > 0 and given >= _number(said.about.get("failed")) and not _stuck(row, given)
        case "resolve":
            return row.inputs.get(RESOLVED) == [said.about.get("attempt"), said.about.get("as")]
        case "skip":
            told = (row.phase, row.reason, row.message, row.outputs)
            return told == (StepPhase.SKIPPED, SKIPPED, said.about.get("reason"), said.about.get("outputs") or None)
        case "approve":
            return row.phase is StepPhase.SUCCEEDED and row.reason == APPROVED
    return False


def _stuck(row: StepRecord, given: int) -> bool:
    """The attempt that was allowed after attempt `given` could not begin."""
    return row.phase is StepPhase.FAILED and row.attempt == given


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


def _position(task: TaskSnapshot, program: Program, said: Said) -> Position | Remark | None:
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
            row = task.steps.get(each.holder.path)
            if row is None or "items" not in row.inputs:
                if said.verb in _CLAIMS:
                    return Remark(REFUSED, f"when this was seen, {each.holder.path} had no items yet; {_ANEW}")
                return Remark(PENDING, f"the list of {each.holder.path} is not known yet")
            if each.item >= (count := len(items_of(task, each.holder))):
                return Remark(REFUSED, f"{each.holder.path} has {count} items, counted from 0")
        each = each.around
    return None


def _left(task: TaskSnapshot, position: Position) -> Remark | None:
    """Where others have gone on without the step: it is part of something that is over, or is being closed."""
    each = position
    while (around := each.around) is not None:
        row = task.steps.get(around.path)
        if row is not None and row.phase in ENDED_STEPS - BROKEN:
            return Remark(STALE, f"{around.path} is over without it: {_DID[row.phase]}")
        if row is not None and row.phase in BROKEN and (remark := _passed_by(task, around)):
            return remark
        each = around
    return None


def _closing(task: TaskSnapshot, position: Position) -> Remark | None:
    """While the step at the end of a workflow runs, nothing else of that workflow begins again."""
    for frame in position.frames:
        last = frame.exit
        row = task.steps.get(last.path) if last and not position.within(last) else None
        if last and row and row.phase in {StepPhase.RUNNING, StepPhase.RETRYING}:
            return Remark(PENDING, f"{last.path}, the step at the end, runs")
    return None


# -- one verb each -------------------------------------------------------------------------------------------------------


def _retry(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    seen = _number(about.get("failed"))
    if not _works(task, position):
        return Remark(REFUSED, f"it makes no attempts of its own{_instead(task, position, StepPhase.FAILED)}")
    if seen > (count := _failed(row)):
        return Remark(REFUSED, f"when this was seen, it had {_times(count, seen)}")
    if _number(row.inputs.get(RETRIED)) >= seen:
        return Remark(STALE, f"the attempt that was to follow attempt {seen} could not begin: {row.message}")
    if seen < row.attempt:
        return Remark(STALE, f"attempt {row.attempt} has followed attempt {seen}{_next(row)}")
    match row.phase:
        case StepPhase.FAILED | StepPhase.CANCELLED:
            return _passed_by(task, position) or Fits(position, row)
        case StepPhase.LOST:
            answer = f"{{attempt: {seen}, as: failed, reason: …}}"
            return Remark(PENDING, f"nobody knows what became of attempt {seen}; say `resolve: {answer}` with it")
    return Remark(STALE, f"attempt {seen} needs no other one: {_DID[row.phase]}")


def _skip(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    if remark := _undeclared(position, about):
        return remark
    if row.phase is StepPhase.RUNNING and not position.node.pause:
        return Remark(PENDING, "it runs; it is skipped if that fails, and only revoking the task stops it")
    if row.phase in ENDED_STEPS - BROKEN:
        return Remark(STALE, f"{_DID[row.phase]}{f': {row.message}' if row.message else ''}")
    return (_passed_by(task, position) if row.phase in BROKEN else None) or Fits(position, row)


def _resolve(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    seen = _number(about.get("attempt"))
    if not _works(task, position):
        return Remark(REFUSED, f"it makes no attempts of its own{_instead(task, position, StepPhase.LOST)}")
    if about.get("as") == "failed" and about.get("outputs"):
        return Remark(REFUSED, "what has failed has no outputs")
    if remark := _undeclared(position, about):
        return remark
    if seen > row.attempt:
        return Remark(REFUSED, f"when this was seen, there was no attempt {seen}")
    if seen < row.attempt:
        return Remark(STALE, f"attempt {row.attempt} has followed attempt {seen}")
    if row.phase is StepPhase.RUNNING:
        text = f"when this was seen, the outcome of attempt {seen} was not lost, it was running; {_ANEW}"
        return Remark(REFUSED, text)
    if row.phase is not StepPhase.LOST:
        return Remark(STALE, f"the outcome of attempt {seen} is not lost: {_DID[row.phase]}")
    return Fits(position, row)


def _approve(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    if position.node.kind != "approval" or position.is_list:
        return Remark(REFUSED, "it waits for no approval")
    if row.phase is StepPhase.WAITING:
        return Remark(PENDING, "it does not wait for its approval yet")
    if row.phase is not StepPhase.RUNNING:
        return Remark(STALE, _DID[row.phase])
    digest = plan_digest(task, position)
    return Fits(position, row) if about.get("plan") == digest else Remark(STALE, f"what waits for approval is {digest}")


# -- parts of answers ----------------------------------------------------------------------------------------------------


def _works(task: TaskSnapshot, position: Position) -> bool:
    """Whether it makes attempts itself, or has to find its targets yet."""
    return position.unit is not None and (not position.is_list or finding(task, position))


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _failed(row: StepRecord) -> int:
    """How often it has failed, counted in attempts; one whose outcome is unknown may have."""
    return row.attempt - (row.phase is StepPhase.RUNNING)


def _times(count: int, claimed: int) -> str:
    if not count:
        return f"not failed; {_ANEW}"
    return f"failed {'once' if count == 1 else f'{count} times'}, not {claimed} times"


def _next(row: StepRecord) -> str:
    return f" and failed; to allow another one, say `failed: {row.attempt}`" if row.phase is StepPhase.FAILED else ""


def _instead(task: TaskSnapshot, position: Position, phase: StepPhase) -> str:
    """Which attempts may have been meant by somebody who named what runs them."""
    below = (path for path, row in task.steps.items() if path.startswith(f"{position.path}.") and row.attempt)
    found = sorted(path for path in below if task.steps[path].phase is phase)
    return f"; {', '.join(found[:5])} did" if found else ""


def _passed_by(task: TaskSnapshot, position: Position) -> Remark | None:
    """What follows a step that may fail has begun without it, and read what it did not give."""
    for each in position.after if position.node.continue_on_error else ():
        row = task.steps.get(each.path)
        if row is not None and row.phase is not StepPhase.WAITING:
            return Remark(STALE, f"{each.path} has gone on without it")
    return None


def _undeclared(position: Position, about: Mapping[str, Json]) -> Remark | None:
    """Outputs that nothing can read."""
    given = about.get("outputs")
    known = position.outputs
    if known is None or not isinstance(given, dict):
        return None
    odd = sorted(given.keys() - known)
    names = ", ".join(sorted(known)) or "none"
    return Remark(REFUSED, f"it has no output {', '.join(odd)}; its outputs are {names}") if odd else None
