"""What an answer about a step opens again around it, when its task or a part of it had ended with the step.

What has finished stays; what the step is part of runs again; what the task's timeout cut off waits again; and a step
that runs at the end of a workflow begins anew, because that end was not the last one.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from definitions.program import Program
from reconciler.failures import BROKEN, RETRIED, times_failed
from reconciler.plan.attempts import OVERDUE, REOPENED
from reconciler.position import Position, whole
from state.changes import OwnChange, StepAdvanced, TaskAdvanced
from state.phases import ENDED_STEPS, Signal, StepPhase, TaskPhase
from state.records import Cause, Json, StepRecord, TaskSnapshot


def reopened(
    task: TaskSnapshot, program: Program, position: Position | None, cause: Cause, now: datetime
) -> Iterator[OwnChange]:
    """The changes beside that of the step itself, in their order; none where nothing had ended with it.

    Without a step the task as a whole is taken up again.
    """
    uid = task.record.uid
    surroundings = position.surroundings if position else ()
    around = {each.path: task.steps[each.path] for each in surroundings if each.path in task.steps}
    lasts = [frame.exit for frame in (position.frames if position else (whole(program),)) if frame.exit]
    ends = [last.path for last in lasts if position is None or not position.within(last)]
    failed, standing = task.record.phase is TaskPhase.FAILED, begun_inside(task)
    for path, row in around.items():
        if row.phase in BROKEN:
            yield StepAdvanced(uid, path, Signal.REOPEN, cause, inputs=taken_up(row, now))
    again = {position.path if position else "", *around}
    for path, row in sorted(task.steps.items()):
        if path in again:
            continue
        if _at_the_end(ends, row):
            yield StepAdvanced(uid, path, Signal.RESET, cause, inputs=taken_up(row, now))
        elif failed and was_cut(row):
            signal = Signal.REOPEN if path in standing else Signal.RESET
            yield StepAdvanced(uid, path, signal, cause, inputs=taken_up(row, now))
    if failed:
        deadline = now + program.timeout if program.timeout else None
        yield TaskAdvanced(uid, Signal.RETRY, cause, deadline=deadline)


def taken_up(row: StepRecord, now: datetime) -> dict[str, Json]:
    """What the row of a step keeps that goes on after its end: since when its time counts, and after which failure."""
    return {REOPENED: now.isoformat(), RETRIED: times_failed(row)}


def begun_inside(task: TaskSnapshot) -> set[str]:
    """The paths of all that has a part that has begun; taken up again they go on as they stand, others from their begin."""
    begun = (path for path, row in task.steps.items() if row.phase is not StepPhase.WAITING)
    return {path[:at] for path in begun for at, letter in enumerate(path) if letter == "."}


def was_cut(row: StepRecord) -> bool:
    """The end of the task's time ended it, not a failure of its own."""
    if row.phase is StepPhase.CANCELLED:
        return row.reason == "TimedOut"
    return row.phase is StepPhase.FAILED and not row.attempt and row.message == OVERDUE


def _at_the_end(ends: Sequence[str], row: StepRecord) -> bool:
    """It belongs to a step that closed a workflow which is not closed any more."""
    over = row.phase in ENDED_STEPS or row.phase is StepPhase.QUEUED
    return over and any(row.path == end or row.path.startswith(f"{end}.") for end in ends)
