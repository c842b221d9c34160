"""What commits answer about single steps: one attempt more, a step that is skipped, a lost outcome, an approval.

Each takes effect at most one time, in one commit with all that it opens again. What does not fit becomes a condition
of the task and holds up nothing else.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import cast

from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.failures import BROKEN, RETRIED
from reconciler.plan.reopening import reopened, taken_up
from reconciler.plan.sayings import Remark, Said, sayings
from reconciler.plan.verdict import APPROVED, RESOLVED, SKIPPED, Fits, verdict
from reconciler.position import Position
from state.asking import asked_by
from state.changes import OwnChange, StepAdvanced, TaskAdvanced, apply_one
from state.phases import Signal, StepPhase, TaskPhase
from state.records import Cause, Json, TaskSnapshot


def answers(task: TaskSnapshot, program: Program | None, now: datetime) -> Iterator[Action]:
    """What takes effect now of all that the control of `task` says about its steps."""
    for said in sayings(task.record.control):
        found = verdict(task, program, said)
        if isinstance(found, Fits) and program is not None:
            action = _answered(task, program, said, found, now)
            for change in action.changes:
                task, _ = apply_one(task, cast("OwnChange", change), now)
            yield action


def announced(task: TaskSnapshot, program: Program, position: Position, now: datetime) -> Action | None:
    """The skip of a step that would begin now, where there is one; its list or workflow may have begun just before."""
    steps = task.record.control.get("steps")
    entry = steps.get(position.path) if isinstance(steps, dict) else None
    about = entry.get("skip") if isinstance(entry, dict) else None
    if not isinstance(about, dict):
        return None
    said = Said(position.path, "skip", about)
    found = verdict(task, program, said)
    return _answered(task, program, said, found, now) if isinstance(found, Fits) else None


def remarks(task: TaskSnapshot, program: Program | None) -> Iterator[tuple[Said, Remark]]:
    """What is said about steps and does not fit, and why."""
    for said in sayings(task.record.control):
        found = verdict(task, program, said)
        if isinstance(found, Remark):
            yield said, found


def _answered(task: TaskSnapshot, program: Program, said: Said, fits: Fits, now: datetime) -> Action:
    cause = asked_by(task.record, str(said))
    sign, what, change = _CHANGES[said.verb](said.about, fits, cause, now)
    changes: list[OwnChange] = [change]
    if change.signal is Signal.FAIL:
        changes += _known_to_have_failed(task, fits.position, cause)
    elif fits.row.phase in BROKEN:
        changes += reopened(task, program, fits.position, cause, now)
    again = any(isinstance(each, TaskAdvanced) and each.signal is Signal.RETRY for each in changes)
    record = task.record
    what = f"{what}; the task goes on" if again else what
    return Action(sign, record.uid, f"{record.namespace}/{record.name} {said.path}", what, tuple(changes))


def _retry(about: Mapping[str, Json], fits: Fits, cause: Cause, now: datetime) -> tuple[Sign, str, StepAdvanced]:
    row, number = fits.row, about.get("failed")
    why = f": {about['reason']}" if about.get("reason") else ""
    if fits.signal is Signal.RETRY:
        kept: dict[str, Json] = {RETRIED: number}
        change = StepAdvanced(row.uid, row.path, fits.signal, cause, "Retrying", row.message, inputs=kept)
        return "~", f"attempt {row.attempt} failed, a commit allows another one{why}", change
    change = StepAdvanced(row.uid, row.path, fits.signal, cause, inputs=taken_up(row, now))
    goes = "goes on" if fits.signal is Signal.REOPEN else "begins again"
    return "~", f"it failed, and {goes} by a commit{why}", change


def _skip(about: Mapping[str, Json], fits: Fits, cause: Cause, _: datetime) -> tuple[Sign, str, StepAdvanced]:
    row, reason = fits.row, str(about.get("reason"))
    change = StepAdvanced(row.uid, row.path, Signal.SKIP, cause, SKIPPED, reason, about.get("outputs") or None)
    return "=", f"skipped by a commit: {reason}", change


def _resolve(about: Mapping[str, Json], fits: Fits, cause: Cause, _: datetime) -> tuple[Sign, str, StepAdvanced]:
    row, reason, outcome = fits.row, str(about.get("reason")), str(about.get("as"))
    signal = Signal.SUCCEED if outcome == "succeeded" else Signal.FAIL
    kept: dict[str, Json] = {RESOLVED: [about.get("attempt"), outcome]}
    outputs = (about.get("outputs") or {}) if signal is Signal.SUCCEED else None
    change = StepAdvanced(row.uid, row.path, signal, cause, "Resolved", reason, outputs, inputs=kept)
    sign: Sign = "=" if signal is Signal.SUCCEED else "!"
    return sign, f"attempt {about.get('attempt')} resolved by a commit as {outcome}: {reason}", change


def _approve(about: Mapping[str, Json], fits: Fits, cause: Cause, _: datetime) -> tuple[Sign, str, StepAdvanced]:
    del about
    row, who = fits.row, f" by {cause.author}" if cause.author else ""
    change = StepAdvanced(row.uid, row.path, Signal.SUCCEED, cause, APPROVED, f"approved{who}", {})
    return "=", f"approved{who}", change


_CHANGES = {"retry": _retry, "skip": _skip, "resolve": _resolve, "approve": _approve}


def _known_to_have_failed(task: TaskSnapshot, position: Position, cause: Cause) -> Iterator[OwnChange]:
    """What was lost with the only lost step of it has failed with it now; nothing of that begins again."""
    uid, failed = task.record.uid, {position.path}
    for each in position.surroundings:
        row = task.steps.get(each.path)
        if row is None or row.phase is not StepPhase.LOST or _lost(task, f"{each.path}.", failed):
            break
        failed.add(each.path)
        yield StepAdvanced(uid, each.path, Signal.FAIL, cause, "StepFailed", row.message)
    if task.record.phase is TaskPhase.FAILED and task.record.reason == "Lost" and not _lost(task, "", failed):
        yield TaskAdvanced(uid, None, cause, "StepFailed", task.record.message)


def _lost(task: TaskSnapshot, around: str, but: set[str]) -> bool:
    rows = (row for path, row in task.steps.items() if path.startswith(around) and path not in but)
    return any(row.phase is StepPhase.LOST for row in rows)
