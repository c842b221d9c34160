"""Definitions of the benches, as texts: the same small jobs and flows at any number."""

from collections.abc import Mapping
from pathlib import Path

from tests.repositories import Repository

JOB = """\
apiVersion: reconciler/v1
kind: Job
metadata: {{name: ask}}
spec:
  params: {{task: string, step: string}}
  http: {{method: GET, url: "{url}/{path}", query: {{task: "${{{{ params.task }}}}", step: "${{{{ params.step }}}}"}}}}
{more}  outputs: {{age: result.age}}
"""
TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: {name}, namespace: bench}}
spec: {{workflow: {workflow}, with: {{name: {name}}}}}
"""
DIAMOND = ("step1", ["step2", "step3"], "step4")
"""`[1, [2, 3], 4]`."""


def job(url: str, path: str = "ask", more: str = "") -> str:
    """The job `ask`; `more` are further lines of its spec, two spaces in."""
    return JOB.format(url=url, path=path, more=more)


def workflow(flow: object, name: str = "flow") -> str:
    """A workflow whose steps all ask; `flow` is a list as in a definition."""
    lines = "".join(
        f'    {step}: {{job: ask, with: {{task: "${{{{ params.name }}}}", step: {step}}}}}\n' for step in _steps(flow)
    )
    text = repr(list(flow) if isinstance(flow, tuple) else flow).replace("'", "")
    return (
        f"apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {{name: {name}}}\nspec:\n"
        f"  params: {{name: string}}\n  flow: {text}\n  steps:\n{lines}  outputs: {{age: steps.{_steps(flow)[-1]}.age}}\n"
    )


def task(name: str, workflow: str = "flow") -> str:
    return TASK.format(name=name, workflow=workflow)


def line(length: int) -> list[str]:
    """A flow of `length` steps, one after the other."""
    return [f"step{number}" for number in range(1, length + 1)]


def repository(folder: Path, files: Mapping[str, str]) -> Repository:
    """A repository with one commit of `files`."""
    made = Repository(folder)
    for path, text in files.items():
        made.write(path, text)
    made.commit("definitions")
    return made


def _steps(flow: object) -> list[str]:
    if isinstance(flow, str):
        return [flow]
    assert isinstance(flow, list | tuple)
    return [step for part in flow for step in _steps(part)]
