"""The begin of a task: from then on its time counts, and its place in its group is taken."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from definitions.program import Program
from reconciler.actions import Action
from reconciler.expectation import expected_span, heard
from reconciler.observed import Observed
from state.changes import StepAdvanced, TaskAdvanced
from state.phases import STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, TaskRecord, TaskSnapshot
from state.room import QUEUED_FOR_TRIGGER

PLAN = Cause("plan")
DEFINITION_REJECTED = "DefinitionRejected"
"""The reason of a task that waits for what it is to run."""


def begun(observed: Observed, granted: Iterable[Action], now: datetime) -> Iterator[Action]:
    """A task without a group runs from the first thing that happens to one of its steps."""
    tasks = observed.snapshot.tasks
    moved = dict.fromkeys(action.uid for action in granted if any(isinstance(c, StepAdvanced) for c in action.changes))
    for uid in moved:
        record = tasks[uid].record
        if record.started_at is None and record.phase in STARTING_TASKS:
            yield started(record, observed.program(record), now)


def going_on(record: TaskRecord, signal: Signal, cause: Cause) -> TaskAdvanced:
    """A task that was suspended or removed goes on by `signal`; one that never began waits for what it waited for."""
    if record.started_at:
        return TaskAdvanced(record.uid, signal, cause)
    return TaskAdvanced(record.uid, Signal.RESET, cause, *_stood(record))


def _stood(record: TaskRecord) -> tuple[str, str]:
    """The reason and message of a task that cannot begin, whoever lets it."""
    if not record.pins:
        return DEFINITION_REJECTED, f"the {record.kind.lower()} `{record.target}` that it runs is not to be had"
    return (QUEUED_FOR_TRIGGER, f"waits for the end of {record.behind}") if record.behind else ("", "")


def revocation(task: TaskSnapshot) -> Signal:
    """The signal that revokes a task: where nothing of it has begun, or can have begun, there is nothing to stop first."""
    record = task.record
    begun = record.started_at or task.steps or record.held or record.restored
    return Signal.REVOKE if begun else Signal.STOP


def started(record: TaskRecord, program: Program, now: datetime) -> Action:
    """The task runs from now on."""
    # one that had failed before it began, and was taken up again, runs already
    signal = Signal.START if record.phase is TaskPhase.CREATED else None
    span = expected_span(program, heard(record), program.flow)
    deadline = now + program.timeout if program.timeout else None
    finish = now + span if span is not None else None
    change = TaskAdvanced(record.uid, signal, PLAN, expected_finish=finish, deadline=deadline)
    return Action(">", record.uid, f"{record.namespace}/{record.name}", "started", (change,))
