"""The whole language on real things: a repository, a database, a server, the command itself, and a kill in between."""

import json
from collections import Counter

import pytest

from tests.controllers import Controller, found, job, run_until_idle, task
from tests.loopback import Loopback, Request, answer, silence
from tests.repositories import Repository

DEPLOY = """\
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: host}
spec:
  params: {host: string}
  flow: [drain, install]
  steps:
    drain: {job: say, with: {text: "drain-${{ params.host }}"}}
    install: {job: say, with: {text: "install-${{ params.host }}"}}
  outputs: {done: steps.install.text}
---
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: deploy}
spec:
  params: {hosts: array}
  flow: [each, sure, pause, last]
  steps:
    each: {workflow: host, forEach: params.hosts, parallelism: 2, with: {host: "${{ item }}"}}
    sure: {approval: {message: "go on with ${{ steps.each.results[0].done }}?"}, if: "len(params.hosts) > 2"}
    pause: {wait: {for: 200ms}}
    last: {job: say, with: {text: "${{ '+'.join([each.done for each in steps.each.results]) }}"}}
  onExit: {job: say, with: {text: "exit-${{ task.state }}"}}
  outputs: {all: steps.last.text}
---
"""

SEED = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: reduce}
spec:
  params: {result: array}
  script:
    body: |
      r = { 'name': '' }
      r['name'] = result[3].text
      return r
  outputs: {name: result.name}
---
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: seed}
spec:
  params: {n: integer}
  steps:
    step1:
      calls:
        api1:
          job: say
          forEach: range(params.n)
          parallelism: 1
          with: {text: "${{ (loop.index + 1) * '*' }}"}
        lresult: {job: reduce, with: {result: "${{ calls.api1.results }}"}}
      outputs: {name: calls.lresult.name}
    step2: {job: say, with: {text: "${{ steps.step1.name }}"}}
  outputs: {name: steps.step2.text}
---
"""


@pytest.fixture
def target():
    def say(request: Request, connection) -> None:
        answer(200, {"text": request.query["text"][0]})(request, connection)

    with Loopback() as server:
        server.routes["/say"] = say
        server.routes["/slow"] = silence(0.8)
        yield server


@pytest.fixture
def repository(tmp_path, target):
    made = Repository(tmp_path / "repository")
    block = f'http: {{url: {target.url}/say, query: {{text: "${{{{ params.text }}}}"}}}}'
    made.write("say.yaml", job("say", block, "params: {text: string}\noutputs: {text: result.text}"))
    return made


def said(target: Loopback) -> Counter[str]:
    return Counter(request.query["text"][0] for request in target.requests if "text" in request.query)


def test_a_list_of_workflows_runs_to_its_end_and_what_is_last_knows_how_it_went(tmp_path, repository, target):
    hosts = json.dumps(["a", "b"])
    repository.commit("Deploy", deploy=DEPLOY, two=task("two", f"workflow: deploy, with: {{hosts: {hosts}}}"))

    ended = run_until_idle(repository.folder, tmp_path / "state")

    two = found(tmp_path / "state", "two")
    assert ended.process.returncode == 0, ended.text
    assert two.record.outputs == {"all": "install-a+install-b"}
    assert said(target) == Counter(
        ["drain-a", "drain-b", "install-a", "install-b", "install-a+install-b", "exit-FINISHED"]
    )


def test_an_approval_outlives_a_kill_and_the_api_says_what_to_commit(tmp_path, repository, target):
    hosts = json.dumps(["a", "b", "c"])
    repository.commit("Deploy", deploy=DEPLOY, three=task("three", f"workflow: deploy, with: {{hosts: {hosts}}}"))
    with Controller(repository.folder, tmp_path / "state") as first:
        first.until(lambda: (task := first.found("three")) and "sure" in task.steps)

    with Controller(repository.folder, tmp_path / "state", api=True) as second:
        sure = second.until(lambda: second.get("/tasks/default/three/steps/sure"))["status"]
        whole = second.get("/tasks/default/three")["status"]

    assert (sure["state"], sure["reason"]) == ("RUNNING", "WaitingForApproval")
    assert sure["plan"].startswith("sha256:")
    verb = f"`reconciler approve default/three sure --plan {sure['plan']}`"
    assert sure["message"] == f"sure waits for approval: go on with install-a?; to approve it: {verb}"
    assert sure["plan"] in whole["message"]
    assert [step["path"] for step in whole["steps"][0]["steps"][2]["steps"]] == ["each.2.drain", "each.2.install"]
    assert max(said(target).values()) == 1


def test_the_seeds_loop_and_code_run_to_their_end(tmp_path, repository, target):
    repository.commit("Seed", seed=SEED, four=task("four", "workflow: seed, with: {n: 4}"))

    run_until_idle(repository.folder, tmp_path / "state")

    four = found(tmp_path / "state", "four")
    assert four.record.outputs == {"name": "****"}
    assert [request.query["text"][0] for request in target.requests] == ["*", "**", "***", "****", "****"]


def test_a_loop_that_gives_too_little_fails_as_the_seed_does(tmp_path, repository, target):
    repository.commit("Seed", seed=SEED, three=task("three", "workflow: seed, with: {n: 3}"))

    ended = run_until_idle(repository.folder, tmp_path / "state")

    three = found(tmp_path / "state", "three")
    assert ended.process.returncode == 1
    assert three.steps["step1.lresult"].message.startswith("IndexError: list index out of range")
    assert three.steps["step1.api1"].outputs == {"results": [{"text": "*"}, {"text": "**"}, {"text": "***"}]}
