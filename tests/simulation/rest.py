"""What may stand still for ever: what waits for a person, for its definition, for a place in its group, or for such a task."""

from reconciler.position import locate
from state.phases import StepPhase, TaskPhase
from state.records import TaskSnapshot
from tests.simulation.lines import Programs, Tasks, may_wait

_WAITING = frozenset({TaskPhase.SUSPENDED, TaskPhase.REMOVED})


def may_rest(task: TaskSnapshot, tasks: Tasks, programs: Programs) -> bool:
    """Whether a task that lives has a named reason to do nothing."""
    record = task.record
    if record.phase in _WAITING or not record.pins:
        return True
    if record.behind:
        runs = [each.record for each in tasks.values() if each.record.trigger == record.trigger and each.record.live]
        return any(each.number < record.number for each in runs)  # the oldest that lives waits for nobody
    return may_wait(task, tasks, programs) or _asks_for_approval(task, programs)


def _asks_for_approval(task: TaskSnapshot, programs: Programs) -> bool:
    running = [path for path, row in task.steps.items() if row.phase is StepPhase.RUNNING]
    return any(locate(programs(task.record.pins), path).node.kind == "approval" for path in running)
