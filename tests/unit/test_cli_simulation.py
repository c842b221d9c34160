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
    assert "no sample answer: look" in result.stderr


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
