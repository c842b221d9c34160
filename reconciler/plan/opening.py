"""What a step is begun with: whether it is wanted, its list, the parameters of its workflow, what it waits for.

All of it is computed when the step begins and kept in its row, so that a later look finds the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from definitions.expressions import EvaluationError, Expression
from definitions.models import parse_moment
from definitions.params import bind
from definitions.program import Each, Pause, Program
from definitions.steps import MAX_ITEMS
from reconciler.plan.scope import Scope
from reconciler.position import Position
from state.records import Json


def wanted(position: Position, scope: Scope) -> bool:
    """Whether its condition holds, which for a list is asked once or, where it reads the item, for each of them.

    Raises EvaluationError.
    """
    condition, each = position.node.condition, position.node.each
    if condition is None or (each is not None and each.own_condition is position.is_list):
        return True
    return bool(condition.evaluate(scope))


def items(each: Each, scope: Scope) -> list[Json]:
    """The list that a step goes over. Raises EvaluationError."""
    items_ = each.items
    made = items_.evaluate(scope) if isinstance(items_, Expression) else items_.render(scope) if items_ else None
    if not isinstance(made, list):
        raise EvaluationError(f"forEach: a list is needed, and this is {made!r:.60}")
    if len(made) > MAX_ITEMS:
        raise EvaluationError(f"forEach: {len(made)} items; a step has at most {MAX_ITEMS}")
    return made


def parameters(position: Position, body: Program, scope: Scope) -> dict[str, Json]:
    """The parameters of a sub-workflow. Raises EvaluationError, ParamError."""
    given = position.node.arguments.render(scope) if position.node.arguments else {}
    return bind(body.params, given if isinstance(given, dict) else {})


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a step without work waits for: the words for it, and when the wait is over (None: when somebody says so)."""

    reason: str
    message: str
    ends_at: datetime | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)


def waiting(pause: Pause, scope: Scope, now: datetime) -> Waiting:
    """What the step waits for from `now` on. Raises EvaluationError."""
    if pause.message is not None:
        return Waiting("WaitingForApproval", str(pause.message.render(scope)))
    if pause.span is not None:
        return _until(now + pause.span)
    text = pause.until.render(scope) if pause.until else None
    try:
        return _until(parse_moment(str(text)))
    except ValueError as error:
        raise EvaluationError(f"wait: {error}") from None


def _until(end: datetime) -> Waiting:
    return Waiting("Waiting", "", end, {"until": end.isoformat()})


def over_at(inputs: Mapping[str, Json]) -> datetime | None:
    """When a wait that was begun with `inputs` is over; None for an approval."""
    until = inputs.get("until")
    return parse_moment(until) if isinstance(until, str) else None
