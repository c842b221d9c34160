"""What validation knows about a script's body: the data it reads, and the mistakes that are there before it runs."""

import ast
from typing import Any

import pytest

from definitions.library import Library
from definitions.models import OnLost
from definitions.program import Unit
from reconciler.drivers.script_code import code
from tests.definition_files import GOOD, Shelf, workflow

DRIVERS = frozenset({"http", "script"})
JOB = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: reduce}
spec:
  params: {result: array, name: string}
  script:
    body: |
BODY
  outputs: {name: result.name}
"""


def library(**files: str) -> Library:
    return Shelf(drivers=DRIVERS).put(good=GOOD, **files)


def inline(body: str, before: str = "") -> str:
    """A workflow whose step `s` is this body."""
    return workflow(f"{before}\ns: {{script: {{body: {quoted(body)}}}}}")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def unit(body: str, before: str = "") -> Unit:
    made = library(flow=inline(body, before))
    assert [each for each in made.problems if not each.warning] == []
    found = made.program("Workflow", "default", "flow").nodes["s"].unit
    assert found is not None
    return found


def said(body: str, before: str = "") -> str:
    """The one problem of a workflow with this body."""
    (problem,) = library(flow=inline(body, before)).problems
    assert problem.file == "flow.yaml"
    return f"{problem.code} {problem.message}"


def inputs(body: str, before: str = "", **scope: Any) -> object:
    """The data that the request holds over this scope."""
    return given(unit(body, before), **scope)


def given(made: Unit, **scope: Any) -> object:
    request: Any = made.request.render(scope)
    return request["inputs"]


def test_a_body_gets_what_it_names_and_nothing_else() -> None:
    body = "if params.name == 'x':\n    return task.name\nreturn len(params['name'])"
    scope = {"params": {"name": "Ada", "other": "secret"}, "task": {"name": "t", "uid": "u"}}

    assert inputs(body, **scope) == {"params": {"name": "Ada"}, "task": {"name": "t"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return params", {"params": {"name": "Ada"}}),
        ("return params.items()", {"params": {"name": "Ada"}}),
        ("return params.name.upper()", {"params": {"name": "Ada"}}),
        ("x = params\nreturn x.name + params.name", {"params": {"name": "Ada"}}),
        ("return params[task.name]", {"params": {"name": "Ada"}, "task": {"name": "t"}}),
        ("return [params.name for params in [1]]", {"params": {"name": "Ada"}}),
        ("return 1", {}),
        ("return f'{params.name!r:>5}'", {"params": {"name": "Ada"}}),
    ],
)
def test_data_stand_where_the_body_looks_for_them(body: str, expected: object) -> None:
    assert inputs(body, params={"name": "Ada"}, task={"name": "t"}) == expected


def test_a_step_that_a_body_reads_is_waited_for() -> None:
    before = "a: {job: good, with: {name: x}}"

    program = library(flow=inline("return steps.a.age + 1", before)).program("Workflow", "default", "flow")

    assert program.nodes["s"].after == ("a",)
    assert inputs("return steps.a.age + 1", before, steps={"a": {"age": 3}}) == {"steps": {"a": {"age": 3}}}
    assert inputs("return steps.a", before, steps={"a": {"age": 3}}) == {"steps": {"a": {"age": 3}}}


@pytest.mark.parametrize("name", ["result", "results", "response"])
def test_the_list_that_a_job_reduces_has_three_names(name: str) -> None:
    made = library(reduce=JOB.replace("BODY", f"      return {name}[3].name"))

    node = made.program("Job", "default", "reduce").nodes["job"]

    assert made.problems == ()
    assert node.unit is not None
    assert given(node.unit, params={"result": [1, 2], "name": "n"}) == {name: [1, 2]}


def test_a_script_may_always_run_again() -> None:
    made = unit("return 1")

    assert (made.on_lost, made.deduplicates) == (OnLost.RETRY, True)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return (1", "E-SCRIPT line 1, column 8 of the body: '(' was never closed"),
        ("x = 1\nreturn = 2", "E-SCRIPT line 2, column 8 of the body: invalid syntax"),
        ("    x = 1\n    return = 2", "E-SCRIPT line 2, column 12 of the body: invalid syntax"),
        ("  x = 1\nreturn 2", "E-SCRIPT line 2, column 1 of the body: the lines are not indented alike"),
        ("x = 1\nbreak", "E-SCRIPT line 2, column 1 of the body: 'break' outside loop"),
        ("def f(a, a): pass", "E-SCRIPT line 1, column 10 of the body: duplicate argument 'a' in function definition"),
        ("yield 1", "E-SCRIPT line 1, column 1 of the body: the sandbox does not know `yield`"),
        ("x = 1\ndel x", "E-SCRIPT line 2, column 1 of the body: the sandbox does not know `del`"),
        ("from math import *", "E-SCRIPT line 1, column 1 of the body: the sandbox does not know `import *`"),
        (
            "return '漢' + ().__class__",
            "E-SCRIPT line 1, column 14 of the body: __class__: names with double underscores are refused",
        ),
        (
            "x = 1\nreturn '${{ params.name }}'",
            "E-SCRIPT line 2, column 9 of the body: a value inside code would become code; read it by name, as `params.<name>`",
        ),
        (
            "return parms.name",
            "E-EXPR-NAME line 1, column 8 of the body: `parms` is not known here; did you mean `params`?",
        ),
        ("return open('x')", "E-EXPR-NAME line 1, column 8 of the body: `open` is not known here"),
        ("return eval('1')", "E-EXPR-NAME line 1, column 8 of the body: `eval` is not known here"),
        ("return result", "E-EXPR-NAME line 1, column 8 of the body: `result` is not known here"),
        ("return params.nme", "E-REF line 1, column 8 of the body: `nme` is no parameter; did you mean `name`?"),
        ("return steps.nope.age", "E-GRAPH line 1, column 8 of the body: unknown step `nope`"),
        ("return steps", "E-REF line 1, column 8 of the body: name one: `steps.<key>`"),
    ],
)
def test_a_mistake_in_a_body_is_told_with_its_place(body: str, problem: str) -> None:
    assert said(body).startswith(problem)


@pytest.mark.parametrize(
    "body",
    [
        "(" * 300 + ")" * 300,
        "[" * 10_000,
        "return " + "+".join(["1"] * 10_000),
        "return " + "-" * 20_000 + "1",
        "return " + "x." * 9_000 + "y",
        "\n".join(f"{' ' * depth}if 1:" for depth in range(150)) + "\n" + " " * 150 + "pass",
    ],
)
def test_a_body_made_to_hurt_the_parser_is_one_problem(body: str) -> None:
    assert said(body).startswith("E-SCRIPT line ")


def test_names_that_the_body_makes_are_its_own() -> None:
    body = (
        "import math, json as j\nfrom re import match as m\ndef f(a, *b, c=1, **d):\n    return a\n"
        "class K:\n    pass\ntotal = 0\nfor i, (x, y) in []:\n    total += i\nwith K() as k:\n    pass\n"
        "try:\n    pass\nexcept ValueError as error:\n    print(error)\n"
        "match total:\n    case [p, *rest]:\n        print(p, rest)\n    case {'a': q, **others}:\n        print(q, others)\n"
        "if (n := 3) > 2:\n    n += 1\nz: int = 1\nglobal g\ng = lambda v: v\n"
        "return [f, K, k, x, y, m, j, math, n, z, g, [w for w in []]]"
    )

    assert inputs(body) == {}


def test_without_the_sandbox_a_script_is_refused_with_the_name_of_the_extra() -> None:
    made = Shelf(drivers=frozenset({"http"})).put(flow=inline("return 1"))

    (problem,) = made.problems
    assert problem.code == "E-DRIVER"
    assert "the script driver is not part of this installation" in problem.message
    assert "extra `script`" in problem.message


@pytest.mark.parametrize(
    ("written", "runs"),
    [
        ("return a.b", "return __attribute__(a, 'b')"),
        ("return a.b.c[0].d", "return __attribute__(__attribute__(__attribute__(a, 'b'), 'c')[0], 'd')"),
        ("a.b.append(a.c)", "__attribute__(a, 'b').append(__attribute__(a, 'c'))"),
        ("a.b = a.c", "a.b = __attribute__(a, 'c')"),
        ("a.b += 1", "a.b += 1"),
    ],
)
def test_reading_an_attribute_is_the_only_thing_that_is_rewritten(written: str, runs: str) -> None:
    text = code(written, ("a",), 100).text

    inside = ast.parse(text).body[2]
    assert ast.unparse(inside) == f"def __body__(a):\n    {runs}"


def test_a_place_in_the_text_that_runs_is_a_place_in_the_body() -> None:
    made = code("x = a.b\n\n# comment\nif x:\n    y = (a.c\n         + a.d)\n", ("a",), 100)
    lines = made.text.split("\n")
    line = next(number for number, text in enumerate(lines, 1) if "'d'" in text)

    assert made.place([(1, 1), (line, lines[line - 1].index("__attribute__(a, 'd')") + 1)]) == (6, 12)
    assert made.place([(len(lines), 1), (2, 5)]) is None
