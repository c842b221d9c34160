"""How long a run normally takes: what `expect` of its steps adds up to. It is displayed and sorted by, never enforced.

Steps in order add up and steps that run together count their maximum, so the figure is the longest path through the
graph. A commit may say `control.steps.<path>.expect` for one run, which then counts instead of the definition's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from definitions.models import parse_duration
from definitions.program import Node, Program
from state.records import Json, TaskRecord


def expected_span(program: Program, control: Mapping[str, Json]) -> timedelta | None:
    """The longest path through the steps of `program`, or None if no step says what is expected of it."""
    expected = {node.path: node_span(node, control) for node in program.steps}
    if all(span is None for span in expected.values()):
        return None
    nodes = {node.path: node for node in program.steps}
    ends: dict[str, timedelta] = {}
    for path in program.order:
        before = max((ends[earlier] for earlier in nodes[path].after if earlier in ends), default=timedelta())
        ends[path] = before + (expected[path] or timedelta())
    return max(ends.values(), default=None)


def expected_finish(program: Program | None, task: TaskRecord) -> datetime | None:
    """When the run should end: its start and the longest path; None before the start or if nothing is expected."""
    if program is None or task.started_at is None:
        return task.expected_finish
    span = expected_span(program, task.control)
    return task.started_at + span if span is not None else None


def node_span(node: Node, control: Mapping[str, Json]) -> timedelta | None:
    """What is expected of one step in this run: the commit's word, the definition's, or the sum of its calls."""
    override = _override(control, node.path)
    if override is not None:
        return override
    if node.expect is not None:
        return node.expect
    parts = [span for child in node.children if (span := node_span(child, control)) is not None]
    return sum(parts, timedelta()) if parts else None


def _override(control: Mapping[str, Json], path: str) -> timedelta | None:
    steps = control.get("steps")
    entry = steps.get(path) if isinstance(steps, dict) else None
    value = entry.get("expect") if isinstance(entry, dict) else None
    return None if value is None else parse_duration(value)
