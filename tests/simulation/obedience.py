"""At rest every task stands as the file in force wants it: what was committed took effect (rules 2, 5 and 6).

The other way round, that nothing takes effect which no commit said, is judged at every commit (`authority`).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from definitions.desired import Complete
from definitions.library import Library
from definitions.models import Control, Task
from reconciler.plan.entry import control_json
from state.phases import TaskPhase
from state.records import AttemptRecord, TaskRecord

_ENDED = frozenset({TaskPhase.FINISHED, TaskPhase.FAILED, TaskPhase.REVOKING, TaskPhase.REVOKED})
"""What no file leads out of by its state; what runs at the end of a revoked task may wait for a place, as any step."""
_MAY_BE = {
    "running": frozenset({TaskPhase.CREATED, TaskPhase.RUNNING}) | _ENDED,
    "suspended": frozenset({TaskPhase.SUSPENDED}) | _ENDED,
    "revoked": frozenset({TaskPhase.FINISHED, TaskPhase.REVOKING, TaskPhase.REVOKED}),
}


def disobedient(
    desired: Complete, records: Iterable[TaskRecord], now: datetime, *, put_back: bool = False
) -> Iterator[str]:
    """The tasks that are not as their files want them.

    `put_back`: the clock went back, so what a suspension waited for may have come before.
    """
    for record in _latest(records):
        file = desired.library.task(*record.identity)
        if file is not None:
            yield from _as_told(record, cast("Task", file.model).control, now, put_back)
        elif record.live and desired.removes and not record.trigger and record.phase is not TaskPhase.REMOVED:
            yield f"{record.name} has no file any more and is {record.phase}"


def unheard(library: Library, records: Iterable[TaskRecord]) -> str:
    """The name of a task whose file is in force and that has no run; "" if there is none."""
    known = {record.identity for record in records}
    files = (file for file in library.tasks() if '"spec"' in file.text)
    return next((file.name for file in files if (file.namespace, file.name) not in known), "")


def begins_against_its_word(record: TaskRecord, attempt: AttemptRecord, at: datetime) -> str:
    """Why an attempt may not begin in a task that was told to stand still; "" if it may."""
    state, until = record.control.get("state"), record.control.get("until")
    over = isinstance(until, str) and datetime.fromisoformat(until) <= at
    told = state == "revoked" or (state == "suspended" and not over)
    return f"{attempt.path} begins in {record.name}, which is told to be {state}" if told else ""


def _latest(records: Iterable[TaskRecord]) -> Iterable[TaskRecord]:
    """The latest run of each task."""
    return {each.identity: each for each in sorted(records, key=lambda each: each.run)}.values()


def _as_told(record: TaskRecord, control: Control, now: datetime, put_back: bool) -> Iterator[str]:
    if control.run != record.run:
        return  # it waits, or came before; whether each file has its run is asked elsewhere
    said = control_json(control)
    if record.control != said:
        yield f"{record.name} was told {record.control}, and its file says {said}"
    state = "running" if control.until and control.until <= now else control.state
    over = control.until is not None and put_back
    if record.phase not in _MAY_BE[state] and not (over and record.phase in _MAY_BE["running"]):
        yield f"{record.name} is {record.phase} ({record.reason}), and its file says {state}"
