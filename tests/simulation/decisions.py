"""What was decided, reckoned again from the records and the definitions alone: how things began, went on and ended."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from state.changes import Called, Change, Intended, OwnChange, StepAdvanced, apply_one, uid_of
from state.phases import AttemptPhase
from state.records import TaskSnapshot, Uid
from state.store import Committed
from tests.simulation.authority import answered_by
from tests.simulation.ends import moved_wrongly
from tests.simulation.lines import Programs, Tasks
from tests.simulation.reckoning import Run
from tests.simulation.tries import Tries


def decided_wrongly(
    tries: Tries,
    changes: Sequence[Change],
    committed: Committed,
    known: Mapping[Uid, TaskSnapshot | None],
    programs: Programs,
    at: datetime,
    offset: float,
) -> Iterator[str]:
    """What of the decisions in one commit its records do not bear out; `known` are its tasks as they were before it."""
    tasks = {uid: task for uid, task in committed.snapshot.tasks.items() if known[uid] is not task and task.record.pins}
    runs = {uid: Run(task, programs(task.record.pins)) for uid, task in tasks.items()}
    yield from tries.wrong(changes, committed.events, runs, at, offset)
    answered = {(each.uid, each.path) for each in changes if isinstance(each, StepAdvanced) and answered_by(each)}
    for uid, run in runs.items():
        mine = {path for who, path in answered if who == uid}
        for before, after in _moments(known[uid], run.task, changes, at):
            yield from moved_wrongly(before, Run(after, programs(after.record.pins)), mine, at)


def _moments(
    before: TaskSnapshot | None, after: TaskSnapshot, changes: Sequence[Change], at: datetime
) -> Iterator[tuple[TaskSnapshot | None, TaskSnapshot]]:
    """A task before and after one commit; where people had it go on, before and after each change of the commit.

    What they answered may open again what has ended with the same commit.
    """
    own = [each for each in changes if isinstance(each, OwnChange) and uid_of(each) == after.record.uid]
    said = any(isinstance(each, StepAdvanced) and each.cause.kind == "commit" for each in own)
    if before is None or not before.record.pins or not said:  # without pins it is admitted in this very commit
        yield before, after
        return
    for change in own:
        then, _ = apply_one(before, change, at)
        yield before, then
        before = then


def crowded(changes: Sequence[Change], tasks: Tasks, room: int | None) -> str:
    """Why a commit has more calls under way than there is room for; "" if it has not."""
    calls = any(isinstance(each, Intended) or (isinstance(each, Called) and not each.resend) for each in changes)
    if room is None or not calls:
        return ""
    busy = [each for task in tasks.values() for each in task.attempts.values() if each.busy]
    going = [each.path for each in busy if each.phase is not AttemptPhase.CANCELLING]
    return f"{', '.join(sorted(going))} are under way, and there is room for {room}" if len(going) > room else ""
