"""The end of a task, once nothing is left of it that could go on: what it came to, in the words of its record."""

from collections.abc import Iterator

from definitions.expressions import EvaluationError
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.plan.outcome import Outcome, lost_before
from reconciler.plan.outputs import frame_outputs
from reconciler.position import whole
from state.changes import StepAdvanced, TaskAdvanced, TaskChange
from state.phases import AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import Cause, Json, TaskSnapshot

PLAN = Cause("plan")


def conclusion(task: TaskSnapshot, program: Program, outcome: Outcome) -> Action:
    """The end of `task`, whose steps came to `outcome`."""
    if task.record.phase is TaskPhase.REVOKING:
        return _revoked(task)
    if outcome.signal is Signal.SUCCEED:
        return _finished(task, program)
    ended = "Lost" if outcome.signal is Signal.LOSE else "StepFailed"
    return _end(task, "!", Signal.FAIL, ended if outcome.path else outcome.reason, outcome.message)


def _revoked(task: TaskSnapshot) -> Action:
    """The end of a revoked task names what nobody could prove to have stopped."""
    record = task.record
    left = ", ".join(text for path in sorted(task.steps) if (text := _left_over(task, path)))
    said = [record.message, f"may still run: {left}" if left else ""]
    return _end(task, "!", Signal.STOP, record.reason, "; ".join(text for text in said if text))


def _left_over(task: TaskSnapshot, path: str) -> str:
    """What of a step nobody could prove to have ended and nobody answered for: itself, or attempts before its last one."""
    row, attempt = task.steps[path], task.attempts.get(path)
    if row.phase is StepPhase.SKIPPED:
        return ""  # a person has said what to make of it
    lost = attempt is not None and attempt.phase is AttemptPhase.LOST and row.reason == "Lost"
    earlier = lost_before(row)
    return ", ".join([path] * lost + [f"{path} ({earlier})"] * bool(earlier))


def _finished(task: TaskSnapshot, program: Program) -> Action:
    try:
        outputs = frame_outputs(task, whole(program))
    except EvaluationError as error:
        return _end(task, "!", Signal.FAIL, "ExpressionError", f"outputs: {error}")
    return _end(task, "=", Signal.SUCCEED, outputs=outputs)


def _end(
    task: TaskSnapshot, sign: Sign, signal: Signal, reason: str = "", message: str = "", outputs: Json = None
) -> Action:
    record = task.record
    change = TaskAdvanced(record.uid, signal, PLAN, reason, message, outputs)
    changes = (change,) if signal is Signal.FAIL else (*_let_go(task), change)
    what = {Signal.SUCCEED: "finished", Signal.STOP: "revoked"}.get(signal, "failed")
    subject = f"{record.namespace}/{record.name}"
    return Action(sign, change.uid, subject, f"{what}: {message}" if message else what, changes)


def _let_go(task: TaskSnapshot) -> Iterator[TaskChange]:
    """Of a task that nobody answers for any more no step keeps a place."""
    for path, row in task.steps.items():
        if row.phase is StepPhase.LOST and row.group:
            yield StepAdvanced(row.uid, path, None, PLAN, row.reason, row.message, group="")
