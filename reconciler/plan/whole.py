"""The decision of one turn: everything that happens next to a slice of the tasks, as data.

Values in, values out. For any slice this is the plan for everything restricted to it, but for capacity, which all
slices share; and once a plan is written and what it sends is under way, planning again gives nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from definitions.desired import Desired
from definitions.program import Program
from reconciler.actions import Action, Order, Plan, Verb
from reconciler.expectation import expected_span
from reconciler.observed import Observed
from reconciler.plan.admission import RUN_WAITING, admission
from reconciler.plan.capacity import grant
from reconciler.plan.control import control
from reconciler.plan.progress import progress
from state.changes import StepAdvanced, TaskAdvanced
from state.phases import STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, Identity, TaskRecord, TaskSnapshot

PLAN = Cause("plan")
ENDS = frozenset({Signal.SUCCEED, Signal.FAIL, Signal.STOP})
"""The signals that end a task."""


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """What happens next to the tasks of `observed`: files first, then controls, then every step as far as it goes."""
    files = admission(desired, observed, now)
    observed = replace(observed, programs={**observed.programs, **files.programs})
    observed = observed.after(Plan(files.actions).changes, now)
    controls = tuple(control(observed, desired))
    observed = observed.after(Plan(controls).changes, now)
    moves = [move for task in observed.snapshot.tasks.values() for move in _moves(task, observed, now)]
    granted, parked = grant(moves, observed.snapshot.usage, observed.limits, observed.served)
    begun = tuple(_begun(observed, granted, now))
    actions = (*files.actions, *controls, *begun, *granted, *(action for action in parked if action.changes))
    served = next((action.claim.namespace for action in reversed(granted) if action.claim), "")
    again = frozenset(_awaited(observed, granted))
    return Plan(actions, frozenset(action.uid for action in parked), files.notes, again, served)


def _moves(task: TaskSnapshot, observed: Observed, now: datetime) -> Iterator[Action]:
    record = task.record
    if record.phase is TaskPhase.REVOKING and not record.pins:
        yield _never_begun(record)
    elif record.live and record.pins and record.phase is not TaskPhase.UNADOPTED:
        program = observed.program(record)
        yield from progress(
            task, program, lambda path: (record.uid, path) in observed.flying, observed.snapshot.epoch, now
        )
    yield from _cleaning(task, observed)


def _never_begun(record: TaskRecord) -> Action:
    """The end of a run whose definitions could never be resolved: there is nothing to stop."""
    change = TaskAdvanced(record.uid, Signal.STOP, PLAN, record.reason, record.message)
    return Action("!", record.uid, f"{record.namespace}/{record.name}", "revoked", (change,))


def _cleaning(task: TaskSnapshot, observed: Observed) -> Iterator[Action]:
    """What a target still holds of an attempt whose result is committed may go."""
    for path, attempt in task.attempts.items():
        subject = f"{task.record.namespace}/{task.record.name}"
        order = Order(Verb.CLEAN, attempt, subject, "")
        if attempt.ended and attempt.cleanup and order.place not in observed.flying:
            yield Action("-", attempt.uid, f"{subject} {path}", f"attempt {attempt.number} cleaned up", order=order)


def _begun(observed: Observed, granted: Iterable[Action], now: datetime) -> Iterator[Action]:
    """A task runs from the first thing that happens to one of its steps, and from then on its time counts."""
    tasks = observed.snapshot.tasks
    moved = dict.fromkeys(action.uid for action in granted if any(isinstance(c, StepAdvanced) for c in action.changes))
    for uid in moved:
        record = tasks[uid].record
        if record.started_at is None and record.phase in STARTING_TASKS:
            yield _started(record, observed.program(record), now)


def _started(record: TaskRecord, program: Program, now: datetime) -> Action:
    # one that was suspended or removed before it began, and taken up again, runs already
    signal = Signal.START if record.phase is TaskPhase.CREATED else None
    span = expected_span(program, record.control, program.flow)
    deadline = now + program.timeout if program.timeout else None
    finish = now + span if span is not None else None
    change = TaskAdvanced(record.uid, signal, PLAN, expected_finish=finish, deadline=deadline)
    return Action(">", record.uid, f"{record.namespace}/{record.name}", "started", (change,))


def _awaited(observed: Observed, granted: Iterable[Action]) -> Iterator[Identity]:
    """The files that ask for another run and waited for the end of the one that ends here."""
    for action in granted:
        record = observed.snapshot.tasks[action.uid].record
        ends = any(isinstance(c, TaskAdvanced) and c.signal in ENDS for c in action.changes)
        if ends and RUN_WAITING in record.conditions:
            yield record.identity
