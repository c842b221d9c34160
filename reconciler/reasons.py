"""The CamelCase words behind the six public states, and the conditions that the ecosystem's tools read.

A state says how it stands, a reason which of the cases of that state it is (design.md, "States").
"""

import shlex

from state.phases import PUBLIC, AttemptPhase, State, StepPhase, TaskPhase
from state.records import RESTORED_OLDER, AttemptRecord, StepRecord, TaskRecord, TriggerRecord

Condition = dict[str, str]

TASK_REASONS = {
    TaskPhase.UNADOPTED: "Unadopted",
    TaskPhase.CREATED: "Created",
    TaskPhase.RUNNING: "Running",
    TaskPhase.SUSPENDED: "Suspended",
    TaskPhase.REMOVED: "Removed",
    TaskPhase.REVOKING: "Revoking",
    TaskPhase.FAILED: "Failed",
    TaskPhase.REVOKED: "Revoked",
    TaskPhase.FINISHED: "Succeeded",
}
STEP_REASONS = {
    StepPhase.WAITING: "Waiting",
    StepPhase.QUEUED: "QueuedForCapacity",
    StepPhase.RUNNING: "Running",
    StepPhase.RETRYING: "Retrying",
    StepPhase.SUCCEEDED: "Succeeded",
    StepPhase.SKIPPED: "Skipped",
    StepPhase.FAILED: "Failed",
    StepPhase.LOST: "Lost",
    StepPhase.CANCELLED: "Revoked",
}
ATTEMPT_REASONS = {
    AttemptPhase.INTENT: "Starting",
    AttemptPhase.PREPARED: "Starting",
    AttemptPhase.STARTED: "Running",
    AttemptPhase.POLLING: "Polling",
    AttemptPhase.CANCELLING: "Cancelling",
    AttemptPhase.SUCCEEDED: "Succeeded",
    AttemptPhase.FAILED: "Failed",
    AttemptPhase.TIMED_OUT: "TimedOut",
    AttemptPhase.CANCELLED: "Cancelled",
    AttemptPhase.LOST: "Lost",
}
ADVICE = {
    "Suspended": "to go on: `reconciler resume {task}`",
    "Removed": "put the file back to go on",
    "WaitingForApproval": "to approve it: `reconciler approve {step} --plan {plan}`",
    "Failed": "to go on: `reconciler retry {step}`, or `reconciler skip {step} --reason …`",
    "Lost": "look at the target, then: `reconciler resolve {step} --attempt {number} --as succeeded|failed --reason …`",
}
"""By reason: what a person commits who wants a task to go on. The commands write a file and commit it."""
_NEEDS_A_PERSON = frozenset({"Unadopted", "DefinitionRejected", RESTORED_OLDER})


def argument(record: TaskRecord | TriggerRecord) -> str:
    """A task or a trigger as an argument of a command."""
    return shlex.quote(f"{record.namespace}/{record.name}")


def task_reason(record: TaskRecord, focus: str = "") -> str:
    """The reason of a task; `focus` is that of the step that its sentence is about, which says more until it is over."""
    if record.held and record.live:
        return RESTORED_OLDER
    if record.phase in {TaskPhase.CREATED, TaskPhase.RUNNING, TaskPhase.FAILED} and focus:
        return focus
    return record.reason or TASK_REASONS[record.phase]


def step_reason(step: StepRecord, attempt: AttemptRecord | None) -> str:
    """The reason of a step: while it runs that of its attempt, which is newer than the step's own."""
    if step.phase is StepPhase.RUNNING and attempt and not attempt.ended:
        return ATTEMPT_REASONS[attempt.phase]
    return step.reason or STEP_REASONS[step.phase]


def conditions(record: TaskRecord, reason: str, message: str) -> list[Condition]:
    """Ready, Reconciling and Stalled, each `{type, status, reason, message}`, then what the controller has noted."""
    done = record.phase is TaskPhase.FINISHED
    stalled = record.phase is TaskPhase.FAILED or reason in _NEEDS_A_PERSON
    moving = record.live and not stalled and PUBLIC[record.phase] is not State.SUSPENDED
    return [
        condition("Ready", reason, message, met=done),
        condition("Reconciling", reason, message if moving else "", met=moving),
        condition("Stalled", reason, message if stalled else "", met=stalled),
        *[condition(kind, kind, text, met=True) for kind, text in record.conditions.items()],
        *([condition(RESTORED_OLDER, RESTORED_OLDER, record.held, met=True)] if record.held else []),
    ]


def condition(kind: str, reason: str, message: str, *, met: bool) -> Condition:
    """One condition in the ecosystem's form, its status as the words `True` and `False`."""
    return {"type": kind, "status": "True" if met else "False", "reason": reason, "message": message}
