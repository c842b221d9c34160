"""Workflows run offline from sample answers."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app

DEMO = Path(__file__).parents[2] / "definitions" / "demo"
JOB = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: look}
spec:
  params: {where: {type: object, default: {}}}
  http: {url: "http://127.0.0.1:1/"}
  outputs: {age: result.age, where: params.where}
  %s
---
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: w}
spec:
  params: {where: {type: object, default: {}}}
  steps:
    one: {job: look, with: {where: "${{ params.where }}"}}
    two: {job: look, if: steps.one.age > 100}
  outputs: {age: steps.one.age, where: steps.one.where}
"""


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "w.yaml").write_text(JOB % "sample: {age: 30}")
    return tmp_path


def test_the_demo_workflow_finishes_from_its_samples():
    result = simulate("grade", "--source", DEMO, "--with", "name=alice")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].startswith("✓ simulation/grade  FINISHED  6/6 done")
    assert "✓ api5  FINISHED" in result.stdout


def test_a_skipped_step_and_structured_parameters_are_simulated_too(folder):
    result = simulate("w", "--source", folder, "--with", 'where={"city": "上海"}', "-o", "json")

    found = json.loads(result.stdout)
    assert found["status"]["outputs"] == {"age": 30, "where": {"city": "上海"}}
    assert found["status"]["steps"][1]["skip"] is True


def test_a_job_without_a_sample_is_named(folder):
    (folder / "w.yaml").write_text(JOB % "every: 1s")

    result = simulate("w", "--source", folder)

    assert result.exit_code == 1
    assert "no sample answer: look; write `sample:` beside their blocks, or give --answer STEP=FILE" in result.stderr


def test_a_sample_that_never_satisfies_until_is_said(folder):
    (folder / "w.yaml").write_text(JOB % "sample: {age: 30}\n  until: result.age > 40\n  every: 1h")

    result = simulate("w", "--source", folder)

    assert result.exit_code == 1
    assert "one: its sample never makes `until` true" in result.stderr


@pytest.mark.parametrize("given", ["name", "=x", "nme=x"])
def test_a_wrong_parameter_is_one_line(given):
    result = simulate("grade", "--source", DEMO, "--with", given)

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_a_step_that_fails_fails_the_simulation(folder):
    (folder / "w.yaml").write_text((JOB % "sample: {age: 30}").replace("age: result.age", "age: result.age + 'x'"))

    result = simulate("w", "--source", folder)

    assert result.exit_code == 1
    assert "FAILED" in result.stdout


LANGUAGE = """\
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: inner}
spec:
  params: {who: string}
  steps:
    greet: {http: {url: "http://127.0.0.1:1/${{ params.who }}"}, outputs: {text: result.text}, sample: {text: hello}}
  outputs: {text: steps.greet.text}
---
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: outer}
spec:
  steps:
    each: {workflow: inner, forEach: "['a', 'b']", with: {who: "${{ item }}"}}
    sure: {approval: {message: "go?"}, needs: [each]}
    later: {wait: {for: 10d}, needs: [sure]}
    send: {http: {url: "http://127.0.0.1:1/"}, retry: {limit: 2, every: 1h}, needs: [later]}
  onExit: {http: {url: "http://127.0.0.1:1/${{ task.state }}"}}
  outputs: {texts: "[each.text for each in steps.each.results]"}
"""


@pytest.fixture
def language(tmp_path) -> Path:
    (tmp_path / "w.yaml").write_text(LANGUAGE)
    return tmp_path


def simulated(*arguments: object) -> dict:
    return json.loads(simulate("outer", *arguments, "-o", "json").stdout)["status"]


def state(status: dict, path: str) -> str:
    steps = status["steps"]
    for length in range(1, len(parts := path.split(".")) + 1):
        (step,) = [each for each in steps if each["path"] == ".".join(parts[:length])]
        steps = step["steps"]
    return step["state"]


def test_lists_workflows_approvals_and_waits_are_simulated_to_their_end(language):
    found = simulated("--source", language)

    assert (found["state"], found["outputs"]) == ("FINISHED", {"texts": ["hello", "hello"]})
    assert state(found, "each.1.greet") == state(found, "onExit") == "FINISHED"


def test_a_step_that_is_to_fail_fails_and_what_runs_at_the_end_still_runs(language):
    found = simulated("--source", language, "--fail", "each.1.greet")

    assert (found["state"], found["reason"]) == ("FAILED", "AttemptFailed")
    assert (state(found, "each.0"), state(found, "each.1"), state(found, "onExit")) == (
        "FINISHED",
        "FAILED",
        "FINISHED",
    )


def test_a_step_may_fail_a_few_times_only(language):
    assert simulated("--source", language, "--fail", "send=2")["state"] == "FINISHED"
    assert simulated("--source", language, "--fail", "send=3")["state"] == "FAILED"


def test_an_answer_from_a_file_speaks_for_all_items_or_for_one(language):
    (language / "one.json").write_text('{"text": "hi"}')
    (language / "all.json").write_text('{"text": "hey"}')
    given = ["--answer", f"each.0.greet={language}/one.json", "--answer", f"each.greet={language}/all.json"]

    assert simulated("--source", language, *given)["outputs"] == {"texts": ["hi", "hey"]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--fail", "nowhere"), "--fail nowhere: the workflow has no such step"),
        (("--fail", "sure"), "--fail sure: the workflow has no such step that calls something"),
        (("--fail", "send=x"), "write it as STEP, or as STEP=N"),
        (("--fail", "send=0"), "write it as STEP, or as STEP=N for the first N attempts, from 1"),
        (("--fail", "each.9.greet"), "--fail each.9.greet: nothing was called there"),
        (("--fail", "each.greet.1"), "--fail each.greet.1: nothing was called there"),
        (("--fail", "each.0.greet", "--fail", "send"), "error: --fail send: nothing was called there"),
        (("--answer", "send"), "write it as STEP=FILE"),
        (("--answer", "send=/nowhere.json"), "No such file"),
    ],
)
def test_an_injection_that_means_nothing_is_said(language, given, said):
    result = simulate("outer", "--source", language, *given)

    assert result.exit_code == 1
    assert said in result.stderr
