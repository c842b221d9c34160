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

from definitions.program import Program
from reconciler.approval import plan_digest
from reconciler.failures import BROKEN, RETRIED, times_failed
from reconciler.plan.listening import DID, closed, closing, passed_by, place_of
from reconciler.plan.reopening import begun_inside, was_cut
from reconciler.plan.sayings import ANEW, CLAIMS, PENDING, REFUSED, STALE, Remark, Said, dismissed
from reconciler.position import Position, below, finding
from state.phases import ENDED_STEPS, Signal, StepPhase
from state.records import Json, StepRecord, TaskRecord, TaskSnapshot

RESOLVED = "resolved"
"""What the row of a step keeps of the answer to a lost attempt."""
SKIPPED, APPROVED = "Skipped", "Approved"
"""The reasons of a step that ended so by a commit."""


@dataclass(frozen=True, slots=True)
class Fits:
    """It takes effect now, at this place. `signal` of a retry: how the step is taken up again."""

    position: Position
    row: StepRecord
    signal: Signal = Signal.RETRY


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
    return (closing(task, found.position) or _unpinned(task.record, said) or found) if found else None


def _unpinned(record: TaskRecord, said: Said) -> Remark | None:
    """What lets the task go on was written for the definitions that the same file asks for, and waits for these."""
    wanted = record.control.get("repin", "")
    goes_on = said.verb in {"retry", "skip"} or (said.verb == "resolve" and said.about.get("as") == "succeeded")
    if not goes_on or not wanted or wanted == record.repinned:
        return None
    return Remark(PENDING, f"it waits until the task continues with the definitions at {wanted} (`repin`)")


def _compared(task: TaskSnapshot, program: Program, said: Said, row: StepRecord) -> Verdict:
    position = place_of(task, program, said)
    if position is None or isinstance(position, Remark):
        return position
    compare = {"retry": _retry, "skip": _skip, "resolve": _resolve, "approve": _approve}[said.verb]
    return compare(task, position, row, said.about)


def _stays(said: Said, remark: Remark) -> bool:
    """Whether nothing that comes makes it count: it claims what was not so, or comes too late."""
    if said.verb in CLAIMS:
        return remark.condition != PENDING
    return said.verb == "skip" and remark.condition == STALE


# -- before the step is looked at ----------------------------------------------------------------------------------------


def _done(said: Said, row: StepRecord) -> bool:
    """Whether it has taken effect, so that nothing is left to say."""
    match said.verb:
        case "retry":
            given = _number(row.inputs.get(RETRIED))
            return given >= _number(said.about.get("failed")) and not _stuck(row)
        case "resolve":
            return row.inputs.get(RESOLVED) == [said.about.get("attempt"), said.about.get("as")]
        case "skip":
            told = (row.phase, row.reason, row.message, row.outputs)
            return told == (StepPhase.SKIPPED, SKIPPED, said.about.get("reason"), said.about.get("outputs") or None)
        case "approve":
            return row.phase is StepPhase.SUCCEEDED and row.reason == APPROVED
    return False


def _stuck(row: StepRecord) -> bool:
    """It was taken up again and failed before anything was attempted."""
    return row.phase in BROKEN and times_failed(row) > row.attempt


# -- one verb each -------------------------------------------------------------------------------------------------------


def _retry(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    seen, count, works = _number(about.get("failed")), times_failed(row), _works(task, position)
    if row.phase in ENDED_STEPS - BROKEN:
        return Remark(STALE, f"it needs no other attempt: {DID[row.phase]}")
    if not works and (parts := _failed_parts(task, position)):
        return Remark(REFUSED, f"it failed with what it runs; say it of {', '.join(parts[:5])}")
    if seen > count:
        return Remark(REFUSED, f"when this was seen, it had {_times(count, seen)}")
    if row.phase in BROKEN and seen < count and _stuck(row):
        return Remark(STALE, f"it has failed again since: {row.message}; to try once more, say `failed: {count}`")
    if seen < row.attempt:
        return Remark(STALE, f"attempt {row.attempt} has followed attempt {seen}{_next(row)}")
    match row.phase:
        case StepPhase.FAILED | StepPhase.CANCELLED:
            return passed_by(task, position) or Fits(position, row, _taking_up(task, row, works=works))
        case StepPhase.LOST:
            answer = f"{{attempt: {row.attempt}, as: failed, reason: …}}"
            return Remark(
                PENDING, f"nobody knows what became of attempt {row.attempt}; say `resolve: {answer}` with it"
            )
    return Remark(STALE, f"it needs no other attempt: {DID[row.phase]}")


def _skip(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    if remark := _undeclared(position, about):
        return remark
    if row.phase is StepPhase.RUNNING and not position.node.pause:
        return Remark(PENDING, "it runs; it is skipped if that fails, and only revoking the task stops it")
    if row.phase in ENDED_STEPS - BROKEN:
        return Remark(STALE, f"{DID[row.phase]}{f': {row.message}' if row.message else ''}")
    return (passed_by(task, position) if row.phase in BROKEN else None) or Fits(position, row)


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
        text = f"when this was seen, the outcome of attempt {seen} was not lost, it was running; {ANEW}"
        return Remark(REFUSED, text)
    if row.phase is not StepPhase.LOST:
        return Remark(STALE, f"the outcome of attempt {seen} is not lost: {DID[row.phase]}")
    return Fits(position, row)


def _approve(task: TaskSnapshot, position: Position, row: StepRecord, about: Mapping[str, Json]) -> Verdict:
    if position.node.kind != "approval" or position.is_list:
        return Remark(REFUSED, "it waits for no approval")
    if row.phase is StepPhase.WAITING:
        return Remark(PENDING, "it does not wait for its approval yet")
    if row.phase is not StepPhase.RUNNING:
        return Remark(STALE, DID[row.phase])
    digest = plan_digest(task, position)
    return Fits(position, row) if about.get("plan") == digest else Remark(STALE, f"what waits for approval is {digest}")


# -- parts of answers ----------------------------------------------------------------------------------------------------


def _works(task: TaskSnapshot, position: Position) -> bool:
    """Whether it makes attempts itself, or has to find its targets yet."""
    return position.unit is not None and (not position.is_list or finding(task, position))


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _failed_parts(task: TaskSnapshot, position: Position) -> list[str]:
    """The innermost of what it runs that failed and that it failed with, and not with the time of the task."""
    found: list[str] = []
    for each in below(task, position):
        row = task.steps.get(each.path)
        may_fail = each.node.continue_on_error and each.item is None
        if row and row.phase in BROKEN and not was_cut(row) and not may_fail:
            found += _failed_parts(task, each) or [each.path]
    return found


def _taking_up(task: TaskSnapshot, row: StepRecord, *, works: bool) -> Signal:
    if works and row.attempt:
        return Signal.RETRY
    return Signal.REOPEN if row.path in begun_inside(task) else Signal.RESET


def _times(count: int, claimed: int) -> str:
    if not count:
        return f"not failed; {ANEW}"
    return f"failed {'once' if count == 1 else f'{count} times'}, not {claimed} times"


def _next(row: StepRecord) -> str:
    again = f" and failed; to allow another one, say `failed: {times_failed(row)}`"
    return again if row.phase is StepPhase.FAILED else ""


def _instead(task: TaskSnapshot, position: Position, phase: StepPhase) -> str:
    """Which attempts may have been meant by somebody who named what runs them."""
    below = (path for path, row in task.steps.items() if path.startswith(f"{position.path}.") and row.attempt)
    found = sorted(path for path in below if task.steps[path].phase is phase)
    return f"; {', '.join(found[:5])} did" if found else ""


def _undeclared(position: Position, about: Mapping[str, Json]) -> Remark | None:
    """Outputs that nothing can read."""
    given = about.get("outputs")
    known = position.outputs
    if known is None or not isinstance(given, dict):
        return None
    odd = sorted(given.keys() - known)
    names = ", ".join(sorted(known)) or "none"
    return Remark(REFUSED, f"it has no output {', '.join(odd)}; its outputs are {names}") if odd else None
