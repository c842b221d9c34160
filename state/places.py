"""Who keeps a place in a concurrency group: what has begun, and what has ended without anybody knowing how.

A step whose outcome is unknown may still run, so its attempt keeps its place, and so do the workflows and the task
around it, until somebody says what became of it or the place is taken from it.
"""

from collections.abc import Mapping

from state.phases import LIVE_TASKS, AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import AttemptRecord, StepRecord, TaskRecord

_REMEMBERED = 100
"""So many lost attempts of a step are remembered, the last ones."""
_GROUPED = frozenset({StepPhase.QUEUED, StepPhase.RUNNING, StepPhase.RETRYING})


def group_of(old: StepRecord, phase: StepPhase, said: str | None) -> str:
    """The group of a step that goes to `phase`; `said` None keeps it. What stands in no line and does not run has none."""
    if phase is StepPhase.LOST:
        return said if said is not None else old.group * (old.holds or old.keeps)
    if phase not in _GROUPED:
        return ""
    return old.group if said is None else said


def left_behind(step: StepRecord, attempt: AttemptRecord | None) -> tuple[int, ...]:
    """The attempts of a step that may still run when another one follows `attempt` by itself."""
    unknown = step.phase is StepPhase.RUNNING and attempt is not None and attempt.phase is AttemptPhase.LOST
    return (*step.lost, step.attempt)[-_REMEMBERED:] if unknown else step.lost


def uncertain(steps: Mapping[str, StepRecord]) -> bool:
    """Whether something of a task may still run and has not been answered for."""
    return any(row.phase is StepPhase.LOST and row.group for row in steps.values())


def entered(old: TaskRecord, phase: TaskPhase, steps: Mapping[str, StepRecord], signal: Signal | None) -> bool:
    """Whether a task has its place in its group when it goes to `phase`."""
    if phase is TaskPhase.FAILED:
        return old.entered and uncertain(steps)
    return phase in LIVE_TASKS and (old.entered or (bool(old.group) and signal in {Signal.START, None}))
