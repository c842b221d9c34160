"""Programs as Mermaid and Graphviz text."""

import pytest

from definitions.program import Node, Program
from reconciler.cli import drawing


@pytest.fixture
def program() -> Program:
    calls = (Node("b.x", "x", "unit"), Node("b.y", "y", "unit", after=("x",)))
    steps = (
        Node("a", "a", "unit", title='say "hi" <now>'),
        Node("b", "b", "calls", after=("a",), children=calls),
        Node("c", "c", "unit", after=("b",)),
    )
    nodes = {node.path: node for node in (steps[0], steps[1], *calls, steps[2])}
    return Program("Workflow", "w", {}, steps, ("a", "b", "c"), nodes=nodes)


def test_mermaid_has_a_box_for_calls_and_an_edge_for_every_wait(program):
    assert drawing.mermaid(program).splitlines() == [
        "flowchart TD",
        '  n0["say #quot;hi#quot; #lt;now#gt;"]',
        '  subgraph n1["b"]',
        '    n2["x"]',
        '    n3["y"]',
        "  end",
        '  n4["c"]',
        "  n0 --> n2",
        "  n2 --> n3",
        "  n3 --> n4",
    ]


def test_dot_has_a_cluster_for_calls_and_an_edge_for_every_wait(program):
    assert drawing.dot(program).splitlines() == [
        'digraph "w" {',
        "  node [shape=box];",
        '  n0 [label="say \\"hi\\" <now>"];',
        "  subgraph cluster_n1 {",
        '    label="b";',
        '    n2 [label="x"];',
        '    n3 [label="y"];',
        "  }",
        '  n4 [label="c"];',
        "  n0 -> n2;",
        "  n2 -> n3;",
        "  n3 -> n4;",
        "}",
    ]


def test_a_graph_for_programs_names_nodes_and_edges_by_path(program):
    found = drawing.as_dict(program)

    assert [node["path"] for node in found["nodes"]] == ["a", "b", "b.x", "b.y", "c"]
    assert {"from": "b.y", "to": "c"} in found["edges"]
