"""Deployments of one target by commits, on real things: never two at a time, in order, or the newest in the place of the others."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from reconciler.cli.app import app
from tests.controllers import Controller, job, run_until_idle, task
from tests.loopback import Loopback, Request, answer
from tests.repositories import Repository


class Target:
    """A server whose deployments take until they are let go, and that counts how many it has at a time."""

    def __init__(self, server: Loopback) -> None:
        self.url = server.url
        self.go = threading.Event()
        self.begun: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        server.routes["/deploy"] = self._deploy

    def _deploy(self, request: Request, connection: Any) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.begun.append(request.query["task"][0])
        self.go.wait(20)
        time.sleep(0.05)
        with self._lock:
            self._now -= 1
        answer(200, {})(request, connection)


@pytest.fixture
def target() -> Iterator[Target]:
    with Loopback() as server:
        made = Target(server)
        yield made
        made.go.set()


def workflow(policy: str) -> str:
    return f"""\
apiVersion: reconciler/v1
kind: Workflow
metadata: {{name: deploy}}
spec:
  params: {{target: string}}
  concurrency: {{limit: 1, group: "deploy to ${{{{ params.target }}}}", policy: {policy}}}
  steps: {{put: {{job: put, with: {{task: "${{{{ task.name }}}}"}}}}}}
---
"""


def repository(folder: Any, target: Target, policy: str) -> Repository:
    made = Repository(folder / "repository")
    block = f'http: {{url: {target.url}/deploy, query: {{task: "${{{{ params.task }}}}"}}}}'
    made.write("put.yaml", job("put", block, "params: {task: string}"))
    made.write("deploy.yaml", workflow(policy))
    return made


def deployment(name: str, where: str = "main") -> str:
    return task(name, f"workflow: deploy, with: {{target: {where}}}")


def test_deployments_of_one_target_follow_each_other_and_say_how_many_are_before_them(tmp_path, target):
    source = repository(tmp_path, target, "queue")
    source.commit("One", one=deployment("one"))
    with Controller(source.folder, tmp_path / "state", api=True) as first:
        first.until(lambda: target.begun == ["one"])
        source.commit("More", two=deployment("two"), zwei=deployment("zwei"), other=deployment("other", "spare"))
        first.until(lambda: "other" in target.begun)
        waiting = first.until(lambda: first.get("/tasks/default/zwei"))["status"]
        listed = {each["metadata"]["name"]: each["status"] for each in first.get("/tasks")["items"]}
        alone = first.get("/tasks/default/two")["status"]
        places = ("--source", str(source.folder), "--state", str(tmp_path / "state"))
        planned = CliRunner().invoke(app, ["plan", *places])
        first.kill()
    target.go.set()

    ended = run_until_idle(source.folder, tmp_path / "state")

    assert (waiting["state"], waiting["reason"], waiting["ahead"]) == ("CREATED", "QueuedForGroup", 1)
    full = "the group deploy to main is full: 1 of 1"
    assert waiting["message"] == f"{full}, held by default/one; 1 waits before it"
    assert planned.exit_code == 0, planned.stdout
    assert planned.stdout.startswith("nothing to do: "), "the place is taken, and a forecast knows"
    assert (alone["reason"], alone["message"]) == ("QueuedForGroup", f"{full}, held by default/one; it is next")
    assert [(listed[name]["reason"], listed[name]["message"]) for name in ("two", "zwei")] == [
        (each["reason"], each["message"]) for each in (alone, waiting)
    ], "a list says what the task itself says"
    assert ended.process.returncode == 0, ended.text
    assert [each for each in dict.fromkeys(target.begun) if each != "other"] == ["one", "two", "zwei"]
    assert target.most == 2  # one of each target


def test_a_commit_that_raises_the_limit_lets_nobody_overtake_who_waits_with_the_lower_one(tmp_path, target):
    source = repository(tmp_path, target, "queue")
    source.write("job.yaml", job("free", f"http: {{url: {target.url}/deploy, query: {{task: free}}}}"))
    source.commit("One", one=deployment("one"), two=deployment("two"))
    with Controller(source.folder, tmp_path / "state") as controller:
        controller.until(lambda: target.begun == ["one"])
        source.write("deploy.yaml", workflow("queue").replace("limit: 1", "limit: 3"))
        source.commit("More at a time", three=deployment("three"), free=task("free", "job: free"))
        controller.until(lambda: "free" in target.begun)
        waits = controller.reaches("three", "created").record
        target.go.set()
        one, two, three = (controller.reaches(name, "finished").record for name in ("one", "two", "three"))

    assert (waits.reason, waits.message) == ("QueuedForGroup", "others wait before it in the group deploy to main")
    assert one.finished_at and two.started_at and three.started_at
    assert (
        one.finished_at <= two.started_at <= three.started_at
    )  # two and three may begin together, as calls side by side
    assert sorted(target.begun) == ["free", "one", "three", "two"]


def test_a_newer_deployment_of_a_target_takes_the_place_of_the_older_one(tmp_path, target):
    source = repository(tmp_path, target, "replace")
    source.commit("One", one=deployment("one"))
    with Controller(source.folder, tmp_path / "state") as controller:
        controller.until(lambda: target.begun == ["one"])
        source.commit("Two", two=deployment("two"))
        replaced = controller.reaches("one", "revoked")
        target.go.set()
        controller.reaches("two", "finished")

    assert (replaced.record.reason, replaced.record.message.split(";")[0]) == ("Replaced", "replaced by default/two")
    assert target.begun == ["one", "two"]
