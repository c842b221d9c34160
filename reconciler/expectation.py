"""How long a run normally takes: what `expect` of its steps adds up to. It is displayed and sorted by, never enforced.

Steps in order add up, and steps that run together count their maximum. What is together is what the author's `flow`
says: steps drawn side by side count so although a reference may put one behind the other (dialects.md 3: the seed's
four days of work are expected after three). Without `flow` it is the longest path through the graph. A commit may say
`control.steps.<path>.expect` for one run, which then counts instead of the definition's.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from definitions.models import parse_duration
from definitions.program import Node, Program
from state.records import Json, TaskRecord

Drawn = Sequence["str | Drawn"]
_NONE = timedelta()


def expected_span(program: Program, control: Mapping[str, Json], flow: Drawn = (), path: str = "") -> timedelta | None:
    """What the steps of `program` are expected to take in this run, or None if none of them says it.

    `flow` is the workflow's, as its file draws it; empty if it has none. `path` is that of the step that runs it.
    """
    around = f"{path}." if path else ""
    expected = {node.path: node_span(node, control, f"{around}{node.path}") for node in program.steps}
    if all(span is None for span in expected.values()):
        return None
    known = {path: span or _NONE for path, span in expected.items()}
    return _drawn_span(flow, known, together=False) if flow else _longest(program, known)


def expected_finish(program: Program | None, task: TaskRecord) -> datetime | None:
    """When the run should end: its start and the span; None before the start or if nothing is expected."""
    if program is None or task.started_at is None:
        return task.expected_finish
    span = expected_span(program, heard(task), program.flow)
    return task.started_at + span if span is not None else None


def heard(task: TaskRecord) -> Mapping[str, Json]:
    """The control of a run without what was dismissed of it, because it was there for the run before."""
    steps = task.control.get("steps")
    if not task.dismissed or not isinstance(steps, dict):
        return task.control
    return {"steps": {path: said for path, said in steps.items() if f"steps.{path}.expect" not in task.dismissed}}


def _drawn_span(flow: Drawn, expected: Mapping[str, timedelta], *, together: bool) -> timedelta:
    """A list is in order, a list in it is together, alternating with depth."""
    spans = [
        expected.get(entry, _NONE) if isinstance(entry, str) else _drawn_span(entry, expected, together=not together)
        for entry in flow
    ]
    return max(spans, default=_NONE) if together else sum(spans, _NONE)


def _longest(program: Program, expected: Mapping[str, timedelta]) -> timedelta:
    nodes = {node.path: node for node in program.steps}
    ends: dict[str, timedelta] = {}
    for path in program.order:
        before = max((ends[earlier] for earlier in nodes[path].after if earlier in ends), default=_NONE)
        ends[path] = before + expected[path]
    return max(ends.values(), default=_NONE)


def node_span(node: Node, control: Mapping[str, Json], path: str) -> timedelta | None:
    """What is expected of the step at `path` in this run: the commit's word, the definition's, or what is in it."""
    override = _override(control, path) if "steps" in control else None
    if override is not None:
        return override
    if node.expect is not None:
        return node.expect
    if node.body:
        return expected_span(node.body, control, node.body.flow, path)
    if not node.children:
        return None
    spans = (node_span(child, control, f"{path}.{child.name}") for child in node.children)
    parts = [span for span in spans if span is not None]
    return sum(parts, timedelta()) if parts else None


def _override(control: Mapping[str, Json], path: str) -> timedelta | None:
    steps = control.get("steps")
    entry = steps.get(path) if isinstance(steps, dict) else None
    value = entry.get("expect") if isinstance(entry, dict) else None
    return None if value is None else parse_duration(value)
