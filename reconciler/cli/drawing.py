"""A program as a graph in text, for pages and documents that draw Mermaid or Graphviz."""

from collections.abc import Iterator

from definitions.program import Node, Program


def mermaid(program: Program) -> str:
    """The steps as a Mermaid flowchart; the calls of one step stand in a box of their own."""
    ids = _ids(program)
    rows = ["flowchart TD"]
    for node in program.steps:
        rows += _mermaid_node(node, ids, "  ")
    rows += [f"  {ids[a]} --> {ids[b]}" for a, b in _edges(program)]
    return "\n".join(rows) + "\n"


def dot(program: Program) -> str:
    """The steps as a Graphviz digraph; the calls of one step stand in a cluster."""
    ids = _ids(program)
    rows = [f"digraph {_quoted(program.name)} {{", "  node [shape=box];"]
    for node in program.steps:
        rows += _dot_node(node, ids, "  ")
    rows += [f"  {ids[a]} -> {ids[b]};" for a, b in _edges(program)]
    return "\n".join([*rows, "}"]) + "\n"


def _ids(program: Program) -> dict[str, str]:
    return {path: f"n{number}" for number, path in enumerate(program.nodes)}


def _edges(program: Program) -> Iterator[tuple[str, str]]:
    """Every pair of paths in which the second waits for the first; a step with calls begins and ends with one of them."""
    for node in program.nodes.values():
        for before in node.after:
            yield _exit(program.nodes[before]).path, _entry(node).path


def _entry(node: Node) -> Node:
    return _entry(node.children[0]) if node.children else node


def _exit(node: Node) -> Node:
    return _exit(node.children[-1]) if node.children else node


def _label(node: Node) -> str:
    text = node.title or node.name
    job = node.unit.job if node.unit and node.unit.job not in {node.path, node.name} else ""
    condition = f" if {node.condition.text}" if node.condition else ""
    return text + (f": {job}" if job else "") + condition


def _mermaid_node(node: Node, ids: dict[str, str], indent: str) -> list[str]:
    label = _label(node).replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    if not node.children:
        return [f'{indent}{ids[node.path]}["{label}"]']
    inner = [row for child in node.children for row in _mermaid_node(child, ids, indent + "  ")]
    return [f'{indent}subgraph {ids[node.path]}["{label}"]', *inner, f"{indent}end"]


def _dot_node(node: Node, ids: dict[str, str], indent: str) -> list[str]:
    if not node.children:
        return [f"{indent}{ids[node.path]} [label={_quoted(_label(node))}];"]
    inner = [row for child in node.children for row in _dot_node(child, ids, indent + "  ")]
    head = [f"{indent}subgraph cluster_{ids[node.path]} {{", f"{indent}  label={_quoted(_label(node))};"]
    return [*head, *inner, f"{indent}}}"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_dict(program: Program) -> dict[str, list[dict[str, str]]]:
    """Nodes and edges for programs: `{nodes: [{path, name, job}], edges: [{from, to}]}`."""
    nodes = [
        {"path": node.path, "name": node.name, "job": node.unit.job if node.unit else ""}
        for node in program.nodes.values()
    ]
    return {"nodes": nodes, "edges": [{"from": a, "to": b} for a, b in _edges(program)]}
