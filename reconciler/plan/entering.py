"""A workflow inside another with a concurrency rule: it asks for its place before anything of it begins.

What is already inside the same group, because its task or a workflow around it has a place there, needs no other one.
"""

from collections.abc import Mapping
from typing import cast

from definitions.models import Policy
from definitions.program import Program
from reconciler.actions import Action, Claim
from reconciler.plan.attempts import PLAN, in_line, turned_away
from reconciler.plan.scope import workflow_group
from reconciler.position import Position
from state.changes import StepAdvanced
from state.phases import Signal, StepPhase
from state.records import Json, StepRecord, TaskSnapshot


def entry(task: TaskSnapshot, position: Position, subject: str, inputs: Mapping[str, Json]) -> Action | None:
    """The begin of the workflow of a step, if there is a place for it; None if it needs none, or has it.

    `inputs` are those that the step begins with; without them it has begun before. Raises EvaluationError.
    """
    body, row = cast("Program", position.node.body), task.steps.get(position.path) or _blank(task, position)
    rule = body.rule
    if rule is None or row.holds:
        return None
    params = inputs.get("params", row.inputs.get("params"))
    group = workflow_group(rule, task.record, body.name, params if isinstance(params, dict) else {})
    if group in _held(task, position):
        return None
    begins = row.phase is not StepPhase.RUNNING
    signal = Signal.START if begins else None
    change = StepAdvanced(row.uid, row.path, signal, PLAN, inputs=inputs, group=group)
    policy: Policy = "skip" if begins and rule.policy == "skip" else "queue"  # what runs inside another is not replaced
    claim = Claim(task.record.namespace, "", group, rule.limit, task.record.number, policy=policy)
    away = turned_away(row, policy) if policy == "skip" else None
    where = f"{subject} {position.path}"
    return Action(">", row.uid, where, "started", (change,), None, claim, in_line(row), row.reason, away)


def _held(task: TaskSnapshot, position: Position) -> set[str]:
    """The groups in which the task, or a workflow around the step, has a place."""
    found, around = {task.record.group} - {""}, position.around
    while around is not None:
        row = task.steps.get(around.path)
        found |= {row.group} if row and row.holds else set()
        around = around.around
    return found


def _blank(task: TaskSnapshot, position: Position) -> StepRecord:
    return StepRecord(task.record.uid, position.path)
