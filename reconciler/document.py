"""A task as the step/API engine of old shows it: seed 1's task document, key for key.

Its words map as dialects.md says: `system` is the workflow, an `api` is a call, `_id` of an api the job's name. Before
a call was made `args` are the texts of its definition, afterwards what was really sent.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from definitions.program import Program
from reconciler.expectation import expected_finish, heard, node_span
from reconciler.position import Frame, Position, below, whole
from reconciler.status import moment
from reconciler.waiting import Place, place, step_sentence, task_sentence
from state.phases import ENDED_STEPS, ENDED_TASKS, PUBLIC, State, StepPhase
from state.records import AttemptRecord, Pin, TaskSnapshot

STATUS = {
    State.CREATED: "READY",
    State.RUNNING: "RUNNING",
    State.FINISHED: "FINISHED",
    State.FAILED: "FAILED",
    State.REVOKED: "STOPPED",
    State.SUSPENDED: "SUSPENDED",
}
NOT_STARTED = -1
Fields = dict[str, Any]


def document(task: TaskSnapshot, program: Program, pins: Sequence[Pin], now: datetime) -> Fields:
    """The task document. `pins` are those of the task, its target's first: they hold the texts of `args`."""
    record, frame = task.record, whole(program)
    texts = _texts(pins)
    return {
        "_id": record.name,
        "system": record.target,
        "step_info": {name: _step(task, step, texts, now) for name, step in frame.places.items()},
        "remain_second": _current_remaining(task, frame, now),
        "expect_finish": moment(expected_finish(program, record)),
        "status": STATUS[PUBLIC[record.phase]],
        "process_msg": task_sentence(task, program, now),
        "last_access": moment(_last_change(task)) or "",
    }


def _step(task: TaskSnapshot, position: Position, texts: Fields, now: datetime) -> Fields:
    where = place(task, position)
    own = texts.get(position.name, {})
    outputs = where.step.outputs
    return {
        "expect_span": _span(node_span(where.node, heard(task.record), position.path)),
        "remain_second": _remaining(task, where, now),
        "api_status": {_key(each): _call(task, each, own, now) for each in _apis(position)},
        "status": STATUS[PUBLIC[where.phase]],
        "response": outputs if isinstance(outputs, dict) else {},
    }


def _apis(position: Position) -> list[Position]:
    """The calls of a step, or the step itself where it is one; a list counts as one call, as the seed's LOOP does."""
    return [each for each in position.calls or [position] if each.node.unit]


def _call(task: TaskSnapshot, position: Position, texts: Fields, now: datetime) -> Fields:
    where = place(task, position)
    node = position.node
    text = texts.get("calls", {}).get(node.name, {}) if "calls" in texts else texts
    began = where.phase is not StepPhase.WAITING
    attempt = _latest(task, position)
    return {
        "_id": node.unit.job if node.unit else node.name,
        **({"type": "LOOP"} if node.each else {}),
        "status": STATUS[PUBLIC[where.phase]],
        "args": _sent(attempt) if attempt else text.get("with", {}),
        "procmmsg": step_sentence(task, where, now) if began else "",
    }


def _latest(task: TaskSnapshot, position: Position) -> AttemptRecord | None:
    """The attempt of a call, or of the last item that a list has begun."""
    if not position.is_list:
        return task.attempts.get(position.path)
    begun = (task.attempts.get(each.path) for each in reversed(below(task, position)))
    return next((attempt for attempt in begun if attempt), None)


def _key(position: Position) -> str:
    """A call goes by its own key; a step that is one job by the job, as in the seed; an inline block by its step."""
    unit = position.node.unit
    return unit.job if unit and position.holder is None else position.node.name


def _texts(pins: Sequence[Pin]) -> Fields:
    """The `steps` of the pinned workflow as its file wrote them; empty for a job."""
    body = json.loads(pins[0].text) if pins else {}
    steps = body.get("spec", body).get("steps", {})
    return steps if isinstance(steps, dict) else {}


def _sent(attempt: AttemptRecord) -> Fields:
    """The arguments of a call: the query of a GET, else the body where that has keys."""
    parts = [attempt.request.get(name) for name in ("query", "json", "form")]
    return next((part for part in parts if isinstance(part, dict) and part), {})


def _span(span: timedelta | None) -> dict[str, int]:
    hours = ceil(span.total_seconds() / 3600) if span else 0
    return {"day": hours // 24, "hour": hours % 24}


def _remaining(task: TaskSnapshot, where: Place, now: datetime) -> int:
    """Whole seconds left of a step: -1 before its start or where nothing is expected, below zero once overdue."""
    if where.phase in ENDED_STEPS:
        return 0
    span = node_span(where.node, heard(task.record), where.path)
    if where.step.started_at is None or span is None:
        return NOT_STARTED
    return ceil((where.step.started_at + span - now).total_seconds())


def _current_remaining(task: TaskSnapshot, frame: Frame, now: datetime) -> int:
    """That of the step which is under way, the most pressing one of several: old clients sort by it."""
    if task.record.phase in ENDED_TASKS:
        return 0
    places = [place(task, step) for step in frame.steps]
    begun = [each for each in places if each.step.started_at and each.phase not in ENDED_STEPS]
    expected = [each for each in begun if node_span(each.node, heard(task.record), each.path) is not None]
    return min((_remaining(task, each, now) for each in expected), default=NOT_STARTED)


def _last_change(task: TaskSnapshot) -> datetime | None:
    record = task.record
    times = [record.created_at, record.started_at, record.finished_at]
    times += [time for each in task.steps.values() for time in (each.started_at, each.finished_at)]
    times += [time for each in task.attempts.values() for time in (each.started_at, each.ended_at)]
    return max((time for time in times if time), default=None)
