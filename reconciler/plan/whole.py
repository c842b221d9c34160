"""The decision of one turn: everything that happens next to a slice of the tasks, as data.

Values in, values out. For any slice this is the plan for everything restricted to it, but for capacity, which all
slices share; and once a plan is written, what it sends is under way, and those are served whom it names to be looked
at again (`again`, `look`, `freed`), planning again gives nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import cast

from definitions.desired import Desired
from reconciler.actions import Action, Order, Plan, Verb
from reconciler.observed import Observed
from reconciler.plan.admission import admission
from reconciler.plan.beginning import begun
from reconciler.plan.capacity import grant
from reconciler.plan.control import control, noted
from reconciler.plan.groups import replacing, turns
from reconciler.plan.progress import progress
from reconciler.plan.repinning import Repinning, repinning
from reconciler.plan.replacing import comers, replaced
from reconciler.plan.triggers import triggers
from reconciler.plan.waking import awaited, entered, freed, patient, unfinished, waited_for
from state.changes import OwnChange, TaskAdvanced, apply_one
from state.phases import Signal, TaskPhase
from state.records import Cause, Identity, TaskRecord, TaskSnapshot, Uid

PLAN = Cause("plan")


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """What happens next to the tasks of `observed`: files, then triggers, then controls, then every step as it can go."""
    seen, files = observed, admission(desired, observed, now)
    observed = observed.knowing(files.programs).after(Plan(files.actions).changes, now)
    fired = triggers(desired, observed, now)
    observed = observed.knowing(fired.programs).after(Plan(fired.actions).changes, now)
    tasks = observed.snapshot.tasks.values()
    spoken = dict.fromkeys(task.record.uid for task in tasks if _spoken_to(task.record))
    repins = tuple(_repins(observed, desired, spoken, now))
    repinned = {each.pins: each.program for each in repins}
    observed = observed.knowing(repinned).after(Plan(tuple(each.action for each in repins)).changes, now)
    controls = tuple(each for uid in spoken for each in _controlled(uid, observed, now))
    observed = observed.after(Plan(controls).changes, now)
    line = turns(observed, now)
    observed = observed.after(Plan(line.actions).changes, now)
    ends = tuple(replaced(observed))
    observed = observed.after(Plan(ends).changes, now)
    tasks = observed.snapshot.tasks.values()
    moves = [move for task in tasks for move in _moves(task, observed, task.record.uid in spoken, now)]
    granted, parked = grant(moves, observed.snapshot.usage, observed.limits, observed.served, line.waits)
    first = tuple(begun(observed, granted, now))
    before = (*files.actions, *fired.actions, *(each.action for each in repins), *controls, *line.actions, *ends)
    decided = (*before, *granted)
    moved = (*first, *granted, *(action for action in parked if action.changes))
    settled = observed.after((each for action in moved if action.uid in spoken for each in action.changes), now)
    return Plan(
        (*before, *moved, *_noted(settled, desired, spoken, now)),
        parked=frozenset(action.uid for action in parked if action.claim is None or action.claim.driver),
        patient=frozenset(patient(parked)),
        notes=files.notes,
        again=frozenset((*awaited(observed, decided), *_repinned_next(settled, desired, spoken, now))),
        served=next((each.claim.namespace for each in reversed(granted) if each.claim and each.order), ""),
        triggers=frozenset(waited_for(observed, decided)),
        look=line.look | frozenset(unfinished(granted, parked)),
        freed=frozenset(freed(seen, observed, decided)) - {""},
        entered=Counter(entered(observed, (*line.actions, *granted))),
        programs={**files.programs, **fired.programs, **repinned},
    )


def contested(observed: Observed) -> frozenset[str]:
    """The groups in which something waits to take the place of others, which a plan for it has to see."""
    return frozenset({*replacing(observed), *comers(observed)})


def _repinned_next(settled: Observed, desired: Desired, spoken: Collection[Uid], now: datetime) -> Iterator[Identity]:
    """The files of the runs that can continue with other definitions once this plan is written."""
    return (settled.snapshot.tasks[each.action.uid].record.identity for each in _repins(settled, desired, spoken, now))


def _spoken_to(record: TaskRecord) -> bool:
    """Whether its control says anything, or did, or its phase is the answer to something that it said."""
    said = record.control or record.conditions or record.dismissed
    return bool(said) or record.phase is TaskPhase.SUSPENDED


def _repins(observed: Observed, desired: Desired, spoken: Collection[Uid], now: datetime) -> Iterator[Repinning]:
    for uid in spoken:
        task = observed.snapshot.tasks[uid]
        found = repinning(task, observed.programs.get(task.record.pins), desired, now)
        if found:
            yield found


def _controlled(uid: Uid, observed: Observed, now: datetime) -> Iterator[Action]:
    task = observed.snapshot.tasks[uid]
    return control(task, observed.programs.get(task.record.pins), now)


def _noted(observed: Observed, desired: Desired, spoken: Collection[Uid], now: datetime) -> Iterator[Action]:
    """What is to be said of the controls once all this has happened."""
    for uid in spoken:
        task = observed.snapshot.tasks[uid]
        action = noted(task, observed.programs.get(task.record.pins), desired, now)
        if action:
            yield action


def _moves(task: TaskSnapshot, observed: Observed, spoken: bool, now: datetime) -> Iterator[Action]:
    record = task.record
    if record.phase is TaskPhase.REVOKING and not record.pins:
        yield _never_begun(record)
    elif record.live and record.pins and not record.in_line and not _waits(record):
        yield from _progressed(task, observed, spoken, now)
    yield from _cleaning(task, observed)


def _progressed(task: TaskSnapshot, observed: Observed, spoken: bool, now: datetime) -> Iterator[Action]:
    """As far as a task goes: what happens to a step may be what a commit waited for to say more of it.

    Then the walk is made again, over what has been decided but for what needs room: that is asked for at the end.
    """
    program, flying = observed.program(task.record), {path for uid, path in observed.flying if uid == task.record.uid}
    while True:
        walked = progress(task, program, flying.__contains__, observed.snapshot.epoch, now)
        settled = [action for action in walked if action.claim is None]
        after = _after(task, settled, now)
        answered = tuple(control(after, program, now)) if spoken else ()
        if not answered:
            yield from walked
            return
        yield from (*settled, *answered)
        task = _after(after, answered, now)
        if not task.record.live or task.record.in_line:
            return
        flying |= {action.order.attempt.path for action in settled if action.order}


def _after(task: TaskSnapshot, actions: Iterable[Action], now: datetime) -> TaskSnapshot:
    for action in actions:
        for change in action.changes:
            task, _ = apply_one(task, cast("OwnChange", change), now)
    return task


def _waits(record: TaskRecord) -> bool:
    """Whether nothing may happen to a task yet: nobody adopted it, or the run of its trigger before it is not over."""
    return record.phase is TaskPhase.UNADOPTED or (bool(record.behind) and record.phase is not TaskPhase.REVOKING)


def _never_begun(record: TaskRecord) -> Action:
    """The end of a run whose definitions could never be resolved: there is nothing to stop."""
    change = TaskAdvanced(record.uid, Signal.STOP, PLAN, record.reason, record.message)
    return Action("!", record.uid, f"{record.namespace}/{record.name}", "revoked", (change,))


def _cleaning(task: TaskSnapshot, observed: Observed) -> Iterator[Action]:
    """What a target still holds of an attempt whose result is committed may go."""
    for path, attempt in task.attempts.items():
        if not (attempt.ended and attempt.cleanup):
            continue
        subject = f"{task.record.namespace}/{task.record.name}"
        order = Order(Verb.CLEAN, attempt, subject, "")
        if order.place not in observed.flying:
            yield Action("-", attempt.uid, f"{subject} {path}", f"attempt {attempt.number} cleaned up", order=order)
