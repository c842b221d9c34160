"""What the compiler makes of sound definitions, and what it says about the others, with the place."""

from datetime import timedelta

import pytest

from definitions.library import program_of
from definitions.models import OnLost
from definitions.program import Node, Program, Unit
from tests.definition_files import GOOD, Shelf, found, job, only, problems, task, workflow


def compiled(steps: str, extra: str = "", **files: str) -> Program:
    """The program of a workflow with these steps."""
    library = Shelf().put(good=GOOD, flow=workflow(steps, extra), **files)
    assert not [each for each in library.problems if not each.warning]
    return library.program("Workflow", "default", "flow")


def unit_of(node: Node) -> Unit:
    assert node.unit is not None
    return node.unit


def said(steps: str, extra: str = "") -> str:
    """The one problem of a workflow with these steps, as `line:column code message`."""
    problem = only(flow=workflow(steps, extra))
    return f"{problem.line}:{problem.column} {problem.code} {problem.message}"


def test_a_step_that_names_a_job_takes_its_block_and_its_own_arguments() -> None:
    program = compiled('a: {job: good, with: {name: "${{ params.name }}!"}}')

    unit = unit_of(program.nodes["a"])
    assert (unit.job, unit.source, unit.driver, unit.inner) == ("good", "good.yaml", "http", True)
    assert unit.arguments is not None
    assert unit.arguments.render({"params": {"name": "Ada"}}) == {"name": "Ada!"}
    assert unit.request.render({"params": {"name": "Bob"}}) == {
        "url": "http://127.0.0.1:9999/x",
        "query": {"name": "Bob"},
    }
    assert unit.outputs["age"].inner


def test_an_inline_block_reads_the_workflows_names() -> None:
    program = compiled('a:\n  process: {command: [echo, "${{ params.name }}"]}\n  outputs: {out: result.text}')

    unit = unit_of(program.nodes["a"])
    assert (unit.job, unit.source, unit.inner) == ("a", "flow.yaml", False)
    assert unit.request.render({"params": {"name": "$(id)"}}) == {"command": ["echo", "$(id)"]}
    assert not unit.outputs["out"].inner


def test_the_nearest_option_wins() -> None:
    slow = job("slow") + "  every: 9s\n  timeout: 1h\n  maxCalls: 3\n  onLost: fail\n  title: Slow\n  expect: 1d\n"
    steps = "a: {job: slow, with: {name: x}, every: 2s, onLost: hold}\nb: {job: slow, with: {name: x}, title: B, expect: 2d}"

    program = compiled(steps, slow=slow)

    near, far = unit_of(program.nodes["a"]), unit_of(program.nodes["b"])
    assert (near.every, near.on_lost, near.timeout, near.max_calls) == (
        timedelta(seconds=2),
        OnLost.HOLD,
        timedelta(hours=1),
        3,
    )
    assert (far.every, far.on_lost) == (timedelta(seconds=9), OnLost.FAIL)
    assert (program.nodes["a"].title, program.nodes["b"].title) == ("Slow", "B")
    assert (program.nodes["a"].expect, program.nodes["b"].expect) == (timedelta(days=1), timedelta(days=2))


def test_a_step_hands_its_options_to_its_calls() -> None:
    steps = "s:\n  every: 7s\n  retry: {limit: 2}\n  timeout: 1h\n  calls:\n    one: {job: good, with: {name: x}}\n"
    steps += "    two: {job: good, with: {name: x}, every: 1s}\n"

    step = compiled(steps).nodes["s"]

    one, two = (unit_of(child) for child in step.children)
    assert (one.every, two.every) == (timedelta(seconds=7), timedelta(seconds=1))
    assert one.retry is not None and one.retry.limit == 2
    assert (one.timeout, step.timeout) == (None, timedelta(hours=1))
    assert [child.after for child in step.children] == [(), ("one",)]


def test_own_outputs_replace_those_of_the_job() -> None:
    unit = unit_of(compiled("a: {job: good, with: {name: x}, outputs: {other: result.b}}").nodes["a"])

    assert list(unit.outputs) == ["other"]
    assert not unit.outputs["other"].inner
    assert unit.uses_result


@pytest.mark.parametrize(
    ("http", "on_lost", "deduplicates", "uses_result"),
    [
        ("{url: http://h}", OnLost.RETRY, True, False),
        ("{url: http://h, method: HEAD}", OnLost.RETRY, True, False),
        ("{url: http://h, method: POST}", OnLost.HOLD, False, False),
        ("{url: http://h, method: POST, idempotent: true}", OnLost.HOLD, True, False),
        ("{url: http://h, method: POST, alreadyExists: result.code == 5}", OnLost.HOLD, True, True),
        ("{url: http://h, method: PUT, verify: {url: http://h/x, found: result.id != None}}", OnLost.HOLD, False, True),
    ],
)
def test_what_a_lost_reply_means_follows_from_the_request(
    http: str, on_lost: OnLost, deduplicates: bool, uses_result: bool
) -> None:
    unit = unit_of(compiled(f"a: {{http: {http}}}").nodes["a"])

    assert (unit.on_lost, unit.deduplicates, unit.uses_result) == (on_lost, deduplicates, uses_result)


def test_a_secret_is_a_pointer_beside_the_request() -> None:
    steps = 'a:\n  http:\n    url: http://h\n    headers: {X~Y: {secret: db/pass}}\n    json: {list: [1, {secret: k}], t: "${{ params.name }}"}'

    unit = unit_of(compiled(steps).nodes["a"])

    assert unit.secrets == {"/headers/X~0Y": "db/pass", "/json/list/1": "k"}
    rendered = unit.request.render({"params": {"name": {"secret": "from data"}}})
    assert rendered == {
        "url": "http://h",
        "headers": {"X~Y": "***"},
        "json": {"list": [1, "***"], "t": {"secret": "from data"}},
    }


def test_a_job_that_a_task_runs_is_a_program_of_one_step() -> None:
    library = Shelf().put(good=GOOD, run=task("run", "job: good, with: {name: x}"))

    program = library.program("Job", "demo", "good")

    unit = unit_of(program.nodes["job"])
    assert (program.kind, program.order) == ("Job", ("job",))
    assert unit.arguments is not None
    assert unit.arguments.render({"params": {"name": "Ada"}}) == {"name": "Ada"}
    assert program.outputs["age"].evaluate({"steps": {"job": {"age": 3}}}) == 3


def test_a_program_is_made_from_pinned_texts_alone() -> None:
    library = Shelf().put(good=GOOD, flow=workflow("a: {job: good, with: {name: x}}"))
    pins = [
        (each.kind, each.namespace, each.name, each.text, each.path)
        for each in library.closure("Workflow", "demo", "flow")
    ]

    program = program_of(pins)

    assert (program.name, list(program.nodes)) == ("flow", ["a"])
    assert unit_of(program.nodes["a"]).source == "good.yaml"


def test_the_concurrency_rule_of_a_step_comes_before_that_of_its_job() -> None:
    program = compiled("a: {job: good, with: {name: x}, concurrency: {limit: 3, policy: skip}}")

    rule = unit_of(program.nodes["a"]).rule
    assert rule is not None
    assert (rule.limit, rule.policy, rule.group) == (3, "skip", None)
    assert program.rule is None


def test_the_group_of_a_workflow_is_made_of_its_parameters_and_its_task() -> None:
    group = "'${{ params.name }} in ${{ task.namespace }}'"
    extra = f"  concurrency: {{limit: 1, group: {group}, policy: replace}}\n"

    program = compiled("a: {job: good, with: {name: x}}", extra)

    assert program.rule is not None and program.rule.group is not None
    assert program.rule.group.render({"params": {"name": "x"}, "task": {"namespace": "demo"}}) == "x in demo"


def test_on_exit_is_a_step_of_its_own_that_reads_how_the_others_ended() -> None:
    ending = "  onExit: {http: {url: http://h, query: {s: '${{ task.state }}'}}}\n"

    program = compiled("a: {job: good, with: {name: x}}", ending)

    assert program.exit is not None
    assert (program.exit.path, [step.name for step in program.steps]) == ("onExit", ["a"])


def test_a_list_has_its_items_its_width_and_its_outputs_over_the_results() -> None:
    node = compiled(
        "a: {job: good, with: {name: '${{ item }}'}, forEach: [1, 2], parallelism: 7, outputs: {all: results}}"
    ).nodes["a"]

    assert node.each is not None
    assert (node.each.parallelism, list(node.outputs), sorted(unit_of(node).outputs)) == (7, ["all"], ["age"])


def test_a_workflow_inside_another_is_compiled_with_it() -> None:
    other = workflow("z: {job: good, with: {name: x}}", name="other")

    program = compiled("a: {workflow: other}", other=other)

    assert program.nodes["a"].body is not None
    assert (list(program.nodes["a"].body.nodes), program.size) == (["z"], 2)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("a: {}", "7:8 E-STEP a step is one of"),
        ("a: {job: good, wait: {for: 1s}, with: {name: x}}", "7:8 E-STEP"),
        ("a: {http: {url: http://h}, process: {command: [x]}}", "7:8 E-STEP"),
        ("a: {calls: {}}", "7:16 E-STEP `calls` is empty"),
        ("a: {calls: {b: {job: good, with: {name: x}}}, until: 1 == 1}", "E-STEP `until` has no meaning"),
        ("a: {wait: {for: 1s}, retry: {limit: 1}}", "E-STEP `retry` has no meaning"),
        ("a: {job: goood, with: {name: x}}", "7:14 E-REF unknown job `goood`: there is none in namespace `default`; did you mean `good`?"),
        ("a: {job: good, with: {nmae: x, name: y}}", "7:27 E-PARAM `good` has no parameter `nmae`; did you mean `name`?"),
        ("a: {job: good}", "E-PARAM `good` needs the parameter `name`"),
        ("a: {job: good, with: {name: [1]}}", "7:33 E-PARAM parameter `name` must be a string, not an array"),
        ("a: {http: {url: http://h}, with: {name: x}}", "E-PARAM `with` fills the parameters of a job"),
        ("a: {job: good, with: {name: {secret: a/b}}}", "E-SECRET"),
        ("a: {http: {url: http://h, json: {secret: '${{ params.name }}'}}}", "E-SECRET"),
        ("a: {job: good, with: {name: '${{ 1 + }}'}}", "7:33 E-EXPR-SYNTAX"),
        ("a: {job: good, with: {name: '${{ nope.x }}'}}", "E-EXPR-NAME"),
        ("a: {job: good, with: {name: '${{ result.x }}'}}", "7:33 E-EXPR-NAME `result` is not known here"),
        ("a: {job: good, with: {name: '${{ item.x }}'}}", "E-EXPR-NAME `item` is not known here"),
        ("a: {job: good, with: {name: '${{ calls.x.y }}'}}", "E-EXPR-NAME `calls` is not known here"),
        ("a: {job: good, with: {name: x}, outputs: {y: results}}", "E-EXPR-NAME `results` is not known here"),
        ("a: {job: good, with: {name: x}, if: result.x}", "E-EXPR-NAME `result` is not known here"),
        ("a: {job: good, with: {name: '${{ params.nmae }}'}}", "E-REF `nmae` is no parameter; did you mean `name`?"),
        ("a: {job: good, with: {name: '${{ task.nope }}'}}", "E-REF `nope` is no field of `task`"),
        ("a: {job: good, with: {name: '${{ task.state }}'}}", "E-REF `state` is no field of `task`"),
        ("a: {job: good, with: {name: '${{ steps.b.age }}'}}", "E-GRAPH unknown step `b`"),
        ("a: {job: good, with: {name: '${{ len(steps) }}'}}", "E-REF name one"),
        ("a: {job: good, with: {name: x}, needs: [b]}", "7:45 E-GRAPH unknown step `b`"),
        ("a: {job: good, with: {name: x}, forEach: 5}", "E-FIELD `forEach` is an expression or a list"),
        ("a: {ansible: {nodes: x, tasks: [y]}}", "7:9 E-DRIVER the ansible driver is not part of this version"),
        ("a: {container: {exec: [ls], in: {names: [x]}}, forEach: [1]}", "E-STEP `forEach` goes over a list, and"),
        ("a: {container: {exec: [ls], in: {}}}", "`in` is empty"),
        ("a: {http: {url: 'file:///etc/passwd'}}", "7:21 E-HTTP-HOST the scheme file"),
        ("a: {http: {url: http://h, method: POST, alreadyExists: params.x}}", "E-EXPR-NAME `params` is not known here"),
        ("a: {http: {url: http://h, alreadyExists: \"'${{ params.name }}' == ''\"}}", "E-EXPR-SYNTAX"),
        ("a: {http: {url: http://h, cancel: {url: 'http://169.254.169.254/'}}}", "E-HTTP-HOST"),
        ("a: {job: good, with: {name: x}, timeout: 0s}", "7:46 E-FIELD 0 s ends everything before it begins"),
        ("a: {workflow: flow, timeout: 0}", "7:34 E-FIELD 0 s ends everything before it begins"),
        ("a: {wait: {for: 1m}, timeout: 0m}", "7:35 E-FIELD 0 s ends everything before it begins"),
        ("a: {http: {url: http://h, timeout: 0s}}", "7:40 E-FIELD 0 s ends everything before it begins"),
        ("a: {job: good, with: {name: '${{ loop.foo }}'}, forEach: '[1]'}", "7:33 E-REF `foo` is no field of `loop`"),
        ("a: {job: good, with: {name: x}, parallelism: 3}", "7:37 W-UNUSED `parallelism` has no meaning without `forEach`"),
        ("a: {workflow: flow}", "E-GRAPH the workflows run each other: flow -> flow"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_told_at_its_place(steps: str, expected: str) -> None:
    assert expected in said(steps)


def test_the_result_of_a_workflow_has_what_it_declares_and_nothing_else() -> None:
    inner = workflow("z: {job: good, with: {name: x}}", "  outputs: {age: steps.z.age}\n", name="inner")
    steps = "a: {workflow: inner, parallelism: 2, outputs: {%s: result.%s}}"

    assert problems(inner=inner, flow=workflow(steps % ("age", "age"))) == ["flow.yaml:7:26 W-UNUSED"]
    assert problems(inner=inner, flow=workflow(steps % ("nope", "nope"))) == [
        "flow.yaml:7:26 W-UNUSED",
        "flow.yaml:7:58 E-REF",
    ]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("a: {job: good, with: {name: x}}\nb: {job: good, with: {name: '${{ steps.a.nope }}'}}", "flow.yaml:8:33 E-REF"),
        ("a: {job: good, with: {name: '${{ steps.b.age }}'}}\nb: {job: good, with: {name: '${{ steps.a.age }}'}}", "flow.yaml:7:5 E-GRAPH"),
        ("a: {job: good, with: {name: '${{ steps.a.age }}'}}", "flow.yaml:7:5 E-GRAPH"),
    ],
)  # fmt: skip
def test_a_mistake_between_steps_is_told(steps: str, code: str) -> None:
    assert code in problems(flow=workflow(steps))


def test_a_call_reads_earlier_calls_only() -> None:
    steps = "s:\n  calls:\n    one: {job: good, with: {name: '${{ calls.two.age }}'}}\n"
    steps += "    two: {job: good, with: {name: '${{ calls.one.age }}'}}\n"

    assert "E-REF the call `two` comes later" in said(steps)


def test_a_reference_to_an_undeclared_output_of_a_call_is_told() -> None:
    steps = "s:\n  calls:\n    one: {job: good, with: {name: x}}\n  outputs: {x: calls.one.agge}\n"

    assert "E-REF `agge` is no output of `calls.one`; did you mean `age`?" in said(steps)


def test_a_reference_beside_the_flow_is_a_warning_at_the_reference() -> None:
    steps = "a: {job: good, with: {name: x}}\nb: {job: good, with: {name: '${{ steps.a.age }}'}}"

    assert said(steps, "  flow: [[a, b]]\n").startswith("9:33 W-FLOW `b` stands beside `a`")


def test_a_bad_flow_is_told_at_the_bad_entry() -> None:
    assert said("a: {job: good, with: {name: x}}", "  flow: [a, nope]\n").startswith("6:13 E-GRAPH unknown step `nope`")


def test_steps_calls_and_items_are_bounded() -> None:
    many = "\n".join(f"s{number}: {{job: good, with: {{name: x}}}}" for number in range(10_000))
    calls = "s:\n  calls:\n" + "\n".join(f"    c{number}: {{job: good, with: {{name: x}}}}" for number in range(101))
    items = f"a: {{job: good, with: {{name: x}}, forEach: {list(range(10_001))}}}"

    assert "E-LIMIT 10000 steps" in said(many)
    assert "E-LIMIT 101 calls" in said(calls)
    assert "E-LIMIT 10001 items" in said(items)


@pytest.mark.parametrize(
    "command",
    [
        '[sh, -c, "echo ${{ params.name }}"]',
        '[/bin/sh, -c, "${{ params.name }}"]',
        '[env, A=b, bash, -lc, "x ${{ params.name }}"]',
        '[bash, -e, -o, pipefail, -c, "x ${{ params.name }}"]',
        '[dash, -c, "${{ params.name }}", x]',
        '[su, root, "--command=${{ params.name }}"]',
    ],
)
def test_a_value_in_a_shells_program_is_refused(command: str) -> None:
    assert "E-SHELL-INTERPOLATION" in said(f"a: {{process: {{command: {command}}}}}")


@pytest.mark.parametrize(
    "command",
    [
        '[sh, -c, "echo \\"$1\\"", sh, "${{ params.name }}"]',
        '[echo, -c, "${{ params.name }}"]',
        '["${{ params.name }}"]',
        "[sh, -c, 'rm -rf \"$0\"']",
    ],
)
def test_a_value_as_an_argument_is_fine(command: str) -> None:
    assert found(flow=workflow(f"a: {{process: {{command: {command}}}}}")) == ()


def test_shell_programs_of_containers_and_pods_are_looked_at_too() -> None:
    every = frozenset({"http", "process", "container", "kubernetes"})
    steps = """
a: {container: {exec: "sh -c 'echo ${{ params.name }}'", in: {names: [x]}}}
b: {container: {exec: [sh, -c], args: ["${{ params.name }}"], in: {names: [x]}}}
c: {container: {run: {image: i, command: [sh, -c, "${{ params.name }}"]}}}
d: {kubernetes: {exec: {pod: p, command: [sh, -c, "${{ params.name }}"]}}}
e: {kubernetes: {job: {image: i, command: [sh], args: [-c, "${{ params.name }}"]}}}
"""
    library = Shelf(drivers=every).put(flow=workflow(steps))

    assert [(each.line, each.code) for each in library.problems] == [
        (line, "E-SHELL-INTERPOLATION") for line in range(7, 12)
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest", "http://2130706433/", "http://0x7f000001", "http://127.1", "http://[::ffff:127.0.0.1]/",
        "http://ok\\\\@169.254.169.254", "http://user:pw@h/", "ftp://h", "javascript:1", "h/path", "//h/x", "http:h", "http:///x",
        "http://h:x/", "http://169.254.169.254:80/${{ params.name }}", "http://${{ params.name }}@h/", "file:${{ params.name }}",
    ],
)  # fmt: skip
def test_a_url_that_is_never_called_is_refused(url: str) -> None:
    assert "E-HTTP-HOST" in said(f'a: {{http: {{url: "{url}"}}}}')


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9999/x", "https://example.com", "http://[::1]:80/", "${{ params.name }}", "http://${{ params.name }}/x",
        "http://api-${{ params.name }}.example.com/", "http://h/${{ params.name }}?a=b@c", "${{ params.name }}/x", "HTTP://h",
    ],
)  # fmt: skip
def test_a_url_that_policy_may_allow_passes(url: str) -> None:
    assert found(flow=workflow(f'a: {{http: {{url: "{url}"}}}}')) == ()


def test_a_job_has_one_driver_block() -> None:
    none = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: n}\nspec: {params: {a: string}}\n"
    both = none.replace("params: {a: string}", "http: {url: http://h}, process: {command: [x]}")

    assert only(n=none).code == "E-DRIVER"
    assert "this one has `http`, `process`" in only(n=both).message


def test_a_default_that_does_not_fit_its_type_is_told() -> None:
    text = GOOD.replace("name: good", "name: n").replace(
        "{name: string}", "{name: string, a: {type: integer, default: x}}"
    )

    assert "the default of parameter `a` must be an integer, not 'x'" in only(n=text).message


def test_the_jobs_own_names_are_its_params_only() -> None:
    steps = GOOD.replace("name: good", "name: n").replace("params.name }}", "steps.a.name }}")
    until = GOOD.replace("name: good", "name: n") + "  until: item.x\n"

    assert only(n=steps).code == only(n=until).code == "E-EXPR-NAME"


def test_a_task_gives_values_not_expressions() -> None:
    assert only(t=task("t", "job: good, with: {name: '${{ params.x }}'}")).code == "E-PARAM"


def test_an_unresolved_name_in_a_task_is_told() -> None:
    assert "4:18 E-REF unknown workflow `nope`: there is none in namespace `demo` nor in `default`" in str(
        only(t=task("t", "workflow: nope"))
    )
