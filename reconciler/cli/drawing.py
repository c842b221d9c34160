"""A program as a graph in text, for pages and documents that draw Mermaid or Graphviz."""

from collections.abc import Iterator

from definitions.program import Node, Program
from reconciler.position import Position, drawn_below, everything, whole


def mermaid(program: Program) -> str:
    """The steps as a Mermaid flowchart; what one step runs stands in a box of its own."""
    ids = _ids(program)
    rows = ["flowchart TD"]
    for step in whole(program).places.values():
        rows += _mermaid_node(step, ids, "  ")
    rows += [f"  {ids[a]} --> {ids[b]}" for a, b in _edges(program)]
    return "\n".join(rows) + "\n"


def dot(program: Program) -> str:
    """The steps as a Graphviz digraph; what one step runs stands in a cluster."""
    ids = _ids(program)
    rows = [f"digraph {_quoted(program.name)} {{", "  node [shape=box];"]
    for step in whole(program).places.values():
        rows += _dot_node(step, ids, "  ")
    rows += [f"  {ids[a]} -> {ids[b]};" for a, b in _edges(program)]
    return "\n".join([*rows, "}"]) + "\n"


def _ids(program: Program) -> dict[str, str]:
    return {each.path: f"n{number}" for number, each in enumerate(everything(program))}


def _edges(program: Program) -> Iterator[tuple[str, str]]:
    """Every pair of paths in which the second waits for the first; a step begins and ends with what it runs."""
    for each in everything(program):
        for before in each.before:
            yield from ((a.path, b.path) for a in _exits(before) for b in _entries(each))
        if each.node is each.frame.program.exit and each.holder is None:
            steps = [step for step in each.frame.steps if not _followed(step)]
            yield from ((a.path, b.path) for step in steps for a in _exits(step) for b in _entries(each))


def _followed(step: Position) -> bool:
    return any(step.node.name in other.node.after for other in step.frame.steps)


def _entries(position: Position) -> list[Position]:
    """Where the step begins: its first call, or the steps of its workflow that wait for no other."""
    inner = [
        each for each in drawn_below(position) if not list(each.before) and each.node is not each.frame.program.exit
    ]
    first = inner[:1] if position.node.children else inner
    return [entry for each in first for entry in _entries(each)] or [position]


def _exits(position: Position) -> list[Position]:
    """Where the step ends: its last call, or the end of its workflow."""
    inner = drawn_below(position)
    body = inner[0].frame if inner and not position.node.children else None
    ends = inner[-1:] if body is None or body.exit else [each for each in inner if not _followed(each)]
    return [end for each in ends for end in _exits(each)] or [position]


def _label(node: Node) -> str:
    text = node.title or node.name
    job = node.unit.job if node.unit and node.unit.job not in {node.path, node.name} else ""
    work = job or (node.body.name if node.body else "")
    each = " in each target" if node.each and node.each.finder else " for each item" if node.each else ""
    condition = f" if {node.condition.text}" if node.condition else ""
    return text + (f": {work}" if work else "") + each + condition


def _mermaid_node(position: Position, ids: dict[str, str], indent: str) -> list[str]:
    label = _label(position.node).replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    inner = [row for each in drawn_below(position) for row in _mermaid_node(each, ids, indent + "  ")]
    if not inner:
        return [f'{indent}{ids[position.path]}["{label}"]']
    return [f'{indent}subgraph {ids[position.path]}["{label}"]', *inner, f"{indent}end"]


def _dot_node(position: Position, ids: dict[str, str], indent: str) -> list[str]:
    inner = [row for each in drawn_below(position) for row in _dot_node(each, ids, indent + "  ")]
    label = _quoted(_label(position.node))
    if not inner:
        return [f"{indent}{ids[position.path]} [label={label}];"]
    head = [f"{indent}subgraph cluster_{ids[position.path]} {{", f"{indent}  label={label};"]
    return [*head, *inner, f"{indent}}}"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_dict(program: Program) -> dict[str, list[dict[str, str]]]:
    """Nodes and edges for programs: `{nodes: [{path, name, job}], edges: [{from, to}]}`."""
    nodes = [
        {"path": each.path, "name": each.name, "job": each.node.unit.job if each.node.unit else ""}
        for each in everything(program)
    ]
    return {"nodes": nodes, "edges": [{"from": a, "to": b} for a, b in _edges(program)]}
