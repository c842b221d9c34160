"""The commands that look before one leaps, on real files."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app

DEMO = Path(__file__).parents[2] / "definitions" / "demo"
JOB = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: a}\nspec: {http: {url: 'http://127.0.0.1:1/'}}\n"
BAD = JOB.replace("metadata", "metadatta")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_demo_definitions_are_valid():
    result = invoke("validate", DEMO)

    assert result.exit_code == 0
    assert "8 definitions in 8 files: 0 errors" in result.stdout


def test_a_problem_is_a_line_with_its_place_as_seen_from_here(tmp_path, monkeypatch):
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "good.yaml").write_text(JOB)
    (tmp_path / "ops" / "bad.yaml").write_text(BAD)
    monkeypatch.chdir(tmp_path)

    result = invoke("validate", "ops")

    assert result.exit_code == 1
    assert "ops/bad.yaml:3:1 E-" in result.stdout
    assert "did you mean `metadata`" in result.stdout
    assert "1 definition in 2 files" in result.stdout


def test_one_file_is_checked_with_what_lies_beside_it_but_only_its_problems_are_shown(tmp_path):
    (tmp_path / "a.yaml").write_text(JOB)
    (tmp_path / "bad.yaml").write_text(BAD.replace("name: a", "name: b"))
    (tmp_path / "task.yaml").write_text("apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: t}\nspec: {job: a}\n")

    result = invoke("validate", tmp_path / "task.yaml")

    assert result.exit_code == 0, result.stdout
    assert result.stdout == "1 definition in 1 file: all good\n"


def test_problems_for_programs_have_file_line_column_code_and_message(tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)

    found = json.loads(invoke("validate", tmp_path, "-o", "json").stdout)

    assert found["errors"] == len(found["problems"]) > 0
    assert set(found["problems"][0]) == {"file", "line", "column", "code", "message"}


@pytest.mark.parametrize("content", [None, "empty"])
def test_nothing_to_check_is_said_on_one_line(tmp_path, content):
    place = tmp_path if content else tmp_path / "missing"

    result = invoke("validate", place)

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("language", "first"), [("mermaid", "flowchart TD"), ("dot", 'digraph "grade" {')])
def test_the_graph_of_a_workflow_is_written_in_either_language(language, first):
    result = invoke("graph", "grade", "--source", DEMO, "--format", language)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == first


FLOW = "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: flow}\nspec: {steps: {one: {job: a}}}\n"


@pytest.mark.parametrize("command", ["graph", "simulate"])
@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"ops/flow": FLOW + "odd: 1\n"},
            "the workflow default/flow is rejected at ops/flow.yaml:5:1 E-UNKNOWN-FIELD ",
        ),
        ({"flow": FLOW.replace("}}}", "}}")}, "the workflow default/flow is rejected at flow.yaml:5:1 E-SYNTAX "),
        ({"flow": FLOW.replace("job: a", "job: c")}, "the workflow default/flow is rejected at flow.yaml:4:"),
        ({"flow": FLOW, "a": BAD.replace("metadatta", "metadata") + "x: 1\n"}, "a.yaml:5:1 E-UNKNOWN-FIELD"),
    ],
)
def test_a_workflow_in_a_rejected_file_is_not_called_unknown(tmp_path, monkeypatch, command, files, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops").mkdir()
    for name, text in ({"a": JOB} | files).items():
        (tmp_path / f"{name}.yaml").write_text(text)

    result = invoke(command, "default/flow")

    assert result.exit_code == 1
    assert says in result.stderr
    assert "there is no workflow" not in result.stderr


def test_the_graph_of_an_unknown_workflow_names_those_that_exist():
    result = invoke("graph", "grad", "--source", DEMO)

    assert result.exit_code == 1
    assert "default/grade" in result.stderr


def test_the_schema_is_json_schema_of_all_four_kinds():
    text = invoke("schema").stdout

    assert "$defs" in json.loads(text)
    assert all(f'"{kind}"' in text for kind in ("Job", "Workflow", "Task", "Trigger"))
