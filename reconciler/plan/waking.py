"""Whom a plan wakes: the tasks, files, triggers and groups that have to be asked again once it is written.

The loop looks at what is dirty only, so what a decision makes possible elsewhere has to be said by that decision.
"""

from collections.abc import Iterable, Iterator, Sequence

from reconciler.actions import Action
from reconciler.observed import Observed
from reconciler.plan.admission import RUN_WAITING
from state.changes import StepAdvanced, TaskAdvanced
from state.phases import Signal
from state.records import Identity, TaskRecord, Uid
from state.room import QUEUED_FOR_GROUP

_ENDS = frozenset({Signal.SUCCEED, Signal.FAIL, Signal.STOP})
"""The signals that end a task."""


def patient(parked: Sequence[Action]) -> set[Uid]:
    """The tasks of which everything that found no room waits for a place in a group."""
    return {action.uid for action in parked} - {action.uid for action in parked if action.waits != QUEUED_FOR_GROUP}


def unfinished(granted: Iterable[Action], parked: Iterable[Action]) -> Iterator[Uid]:
    """The tasks that go on at once: with what stands behind a skipped step, inside a workflow, or in place of others.

    So do those that failed here and were taken up again by a commit: they may have to ask for their place in a group.
    """
    for action in granted:
        again = any(isinstance(c, TaskAdvanced) and c.signal is Signal.RETRY for c in action.changes)
        if again or (action.claim and action.order is None):
            yield action.uid
    for action in parked:
        if action.claim and action.claim.policy == "replace" and action.changes:
            yield action.uid


def freed(seen: Observed, observed: Observed, actions: Iterable[Action]) -> Iterator[str]:
    """The groups in which something ended, began or left the line, so that the next one has to be asked.

    `seen` is what was before this plan. The ends of attempts are reports, at which everybody in line is asked.
    """
    for action in actions:
        task = observed.snapshot.tasks.get(action.uid)
        rows = before.steps if (before := seen.snapshot.tasks.get(action.uid)) else {}
        for change in action.changes:
            if task is None:
                continue  # an action about a trigger
            if isinstance(change, TaskAdvanced) and change.signal is not Signal.QUEUE:
                yield from {task.record.group, *(row.group for row in rows.values() if row.reason == QUEUED_FOR_GROUP)}
            elif isinstance(change, StepAdvanced):
                row = rows.get(change.path)
                left = row and (row.holds or row.keeps or (row.group and change.signal is not Signal.START))
                yield from {change.group or "", row.group if row and left else ""}


def entered(observed: Observed, actions: Iterable[Action]) -> Iterator[str]:
    """The group of each task, workflow and attempt that takes a place where there are only so many."""
    for action in actions:
        if action.claim and action.claim.begins and action.claim.limit is not None and action.sign == ">":
            yield action.claim.group
        elif action.claim is None and action.sign == ">":
            record = observed.snapshot.tasks[action.uid].record
            starts = any(isinstance(c, TaskAdvanced) and c.signal in {Signal.START, None} for c in action.changes)
            yield from [record.group] if record.group and starts else []


def awaited(observed: Observed, actions: Iterable[Action]) -> Iterator[Identity]:
    """The files that ask for another run and waited for the end of the one that ends here."""
    return (record.identity for record in _ended(observed, actions) if RUN_WAITING in record.conditions)


def waited_for(observed: Observed, actions: Iterable[Action]) -> Iterator[Identity]:
    """The triggers of which a task ends here."""
    return ((record.namespace, record.trigger) for record in _ended(observed, actions) if record.trigger)


def _ended(observed: Observed, actions: Iterable[Action]) -> Iterator[TaskRecord]:
    for action in actions:
        if any(isinstance(change, TaskAdvanced) and change.signal in _ENDS for change in action.changes):
            yield observed.snapshot.tasks[action.uid].record
