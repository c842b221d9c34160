"""Each verb that answers for a step, from the commit that it makes to what a real controller does with it."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reconciler.cli.app import app
from reconciler.failures import times_failed
from state.records import TaskSnapshot
from tests.controllers import Controller, found, job, run_until_idle, task, wait_for
from tests.loopback import Loopback, answer, reset
from tests.repositories import Repository

OUTPUT = "outputs: {id: result.id}"
FLOW = """\
apiVersion: reconciler/v1
kind: Workflow
metadata: {name: flow}
spec:
  flow: [make, tell]
  steps:
    make: {job: make}
    tell: {http: {url: "%s/told/${{ steps.make.id }}"}}
"""
GATED = FLOW.replace("[make, tell]", "[make, ask, tell]").replace(
    "    tell:", "    ask: {approval: {message: 'ship ${{ steps.make.id }}?'}}\n    tell:"
)


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/make"] = answer(200, {"id": 7})
        server.routes["/told/7"] = answer(200, {})
        server.routes["/told/9"] = answer(200, {})
        yield server


class World:
    """A repository, a state folder and the runs of a controller over both, each until nothing is left to do."""

    def __init__(self, folder: Path, target: Loopback, flow: str = FLOW, *names: str) -> None:
        self.repository = Repository(folder / "ops")
        self.state = folder / "state"
        driver = f'http: {{method: POST, url: "{target.url}/make"}}'
        files = {"jobs": job("make", driver, OUTPUT), "flow": flow % target.url}
        labels = ", labels: {batch: '7'}}"
        tasks = {name: task(name, "workflow: flow").replace("}", labels, 1) for name in names or ("one",)}
        self.repository.commit(**files, **tasks)

    def run(self) -> int:
        """The exit code of `run --until-idle`."""
        return run_until_idle(self.repository.folder, self.state).process.returncode

    def verb(self, *words: str) -> str:
        """The subject of the commit that a verb makes; with the state folder where the verb looks at one."""
        seen = ("--state", str(self.state)) if words[0] in {"retry", "approve"} else ()
        self.said = CliRunner().invoke(app, [*words, *seen, "--source", str(self.repository.folder)])
        assert self.said.exit_code == 0, self.said.output
        assert not self.said.stderr
        return self.repository.git("log", "-1", "--format=%s")

    def task(self, name: str = "one") -> TaskSnapshot:
        snapshot = found(self.state, name)
        assert snapshot is not None
        return snapshot


def paths(target: Loopback) -> list[str]:
    return [request.path for request in target.requests]


def test_a_failed_step_is_retried_by_a_commit_and_the_task_finishes(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    failed = world.run()
    target.routes["/make"] = answer(200, {"id": 7})

    subject = world.verb("retry", "one", "make")

    assert (failed, world.run()) == (1, 0)
    assert subject == "Retry default/one make after failure 1"
    assert paths(target) == ["/make", "/make", "/told/7"]
    assert len({request.key for request in target.requests}) == 3, "another attempt has another key"
    assert world.task().record.conditions == {}


def test_all_failed_tasks_with_a_label_are_retried_in_one_commit(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target, FLOW, "one", "two")
    world.run()
    target.routes["/make"] = answer(200, {"id": 7})

    subject = world.verb("retry", "make", "-l", "batch=7")

    assert subject == "Retry 2 tasks with batch=7 make"
    assert world.run() == 0
    assert sorted(paths(target)) == ["/make"] * 4 + ["/told/7"] * 2


def test_a_stale_retry_runs_nothing_and_is_a_condition(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    world.run()
    world.verb("retry", "one", "make")
    world.run()

    world.verb("retry", "one", "make", "--failed", "2")
    world.verb("retry", "one", "make", "--failed", "5")
    code = world.run()

    assert code == 1
    assert paths(target) == ["/make", "/make"]
    refused = "steps.make.retry: when this was seen, it had failed 2 times, not 5 times"
    assert world.task().record.conditions == {"ControlRefused": refused}


def test_a_retry_with_a_wrong_number_is_mended_by_the_verb_that_reads_the_right_one(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    world.run()
    world.verb("retry", "one", "make", "--failed", "99")
    world.run()
    target.routes["/make"] = answer(200, {"id": 7})

    world.verb("retry", "one", "make")

    assert "-    make: {retry: {failed: 99}}" in world.said.output
    assert "+    make: {retry: {failed: 1}}" in world.said.output
    assert world.run() == 0
    assert world.task().record.conditions == {}


def test_an_approval_that_nobody_gave_in_time_is_asked_for_again(tmp_path, target):
    flow = GATED.replace("message: 'ship ${{ steps.make.id }}?'}", "message: sure}, timeout: 100ms")
    world = World(tmp_path, target, flow)
    late = world.run()

    subject = world.verb("retry", "one", "ask")

    assert (late, world.run()) == (1, 1)
    assert subject == "Retry default/one ask after failure 1"
    assert times_failed(world.task().steps["ask"]) == 2
    assert paths(target) == ["/make"]


def test_a_failed_step_is_skipped_by_a_commit_with_what_it_should_have_given(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    world.run()

    subject = world.verb("skip", "one", "make", "--reason", "made by hand", "--output", "id=9")

    assert world.run() == 0
    assert subject == "Skip default/one make: made by hand"
    assert paths(target) == ["/make", "/told/9"]
    assert world.task().steps["make"].message == "made by hand"


def test_a_lost_outcome_is_resolved_by_a_commit(tmp_path, target):
    target.routes["/make"] = reset()
    world = World(tmp_path, target)
    held = world.run()

    subject = world.verb(
        "resolve", "one", "make", "--attempt", "1", "--as", "succeeded", "--reason", "seen", "--output", "id=9"
    )

    assert (held, world.run()) == (1, 0)
    assert subject == "Resolve default/one make attempt 1 as succeeded: seen"
    assert paths(target) == ["/make", "/told/9"]
    assert world.task().attempts["make"].phase.value == "lost"


def test_an_approval_is_read_from_the_status_shown_and_committed(tmp_path, target):
    world = World(tmp_path, target, GATED)
    with Controller(world.repository.folder, world.state) as controller:
        controller.until(lambda: waits(world, "ask"))
        assert "/told/7" not in paths(target)

        subject = world.verb("approve", "one", "ask")
        controller.reaches("one", "finished")

    assert subject.startswith("Approve default/one ask: sha256:")
    assert "ask: {approve: {plan: sha256:" in world.said.stdout, "what is approved is shown"
    assert world.task().steps["ask"].reason == "Approved"
    assert paths(target) == ["/make", "/told/7"]


def test_a_failed_task_continues_with_the_definition_that_mends_it(tmp_path, target):
    target.routes["/broken"] = answer(500, {})
    world = World(tmp_path, target)
    before = world.repository.commit(jobs=job("make", f'http: {{method: POST, url: "{target.url}/broken"}}', OUTPUT))
    failed = world.run()
    mended = world.repository.commit(jobs=job("make", f'http: {{method: POST, url: "{target.url}/make"}}', OUTPUT))

    for commit in (before, mended):  # the first is in force no more: the retry beside it waits for the second
        control = f"control: {{repin: '{commit[:10]}', steps: {{make: {{retry: {{failed: 1}}}}}}}}"
        world.repository.commit(one=task("one", "workflow: flow", control))
        world.run()

    assert failed == 1
    assert paths(target) == ["/broken", "/make", "/told/7"]
    assert world.task().record.repinned == mended[:10]
    assert world.task().record.conditions == {}


def waits(world: World, path: str) -> bool:
    snapshot = found(world.state, "one")
    row = snapshot.steps.get(path) if snapshot else None
    return row is not None and row.reason == "WaitingForApproval"


def test_a_task_that_is_suspended_until_a_time_goes_on_by_itself(tmp_path, target):
    world = World(tmp_path, target)
    world.verb("suspend", "one", "--reason", "CHG-1")
    with Controller(world.repository.folder, world.state) as controller:
        controller.reaches("one", "suspended")
        before = len(target.requests)
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)

        world.verb("suspend", "one", "--reason", "CHG-1", "--until", f"{until:%Y-%m-%dT%H:%M:%SZ}")
        controller.reaches("one", "finished")

    assert before == 0
    assert datetime.now(UTC) >= until


def test_the_whole_task_is_run_again_and_forgets_what_was_said_of_its_steps(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    world.run()
    world.verb("skip", "one", "make", "--reason", "made by hand", "--output", "id=9")
    world.run()
    target.routes["/make"] = answer(200, {"id": 7})

    subject = world.verb("rerun", "one")

    assert "taken out, because it was about run 1: steps.make.skip" in world.said.output
    assert world.run() == 0
    assert subject == "Rerun default/one: run 2"
    assert paths(target) == ["/make", "/told/9", "/make", "/told/7"]
    assert world.task().record.conditions == {}


def test_a_run_that_is_asked_for_by_hand_does_not_take_the_answers_of_the_run_before(tmp_path, target):
    target.routes["/make"] = answer(500, {})
    world = World(tmp_path, target)
    world.run()
    world.verb("skip", "one", "make", "--reason", "made by hand", "--output", "id=9")
    world.run()
    target.routes["/make"] = answer(200, {"id": 7})
    file = world.repository.folder / "one.yaml"

    file.write_text(file.read_text().replace("control:\n", "control:\n  run: 2\n"))
    world.repository.commit()

    assert world.run() == 0
    assert paths(target) == ["/make", "/told/9", "/make", "/told/7"]
    assert world.task().record.conditions == {"ControlStale": "steps.make.skip: it was written for run 1"}


def test_revoking_kills_the_whole_process_group_and_calls_cancel(tmp_path, target):
    beats, state = tmp_path / "beats", tmp_path / "state"
    target.routes["/cancel"] = answer(200, {})
    script = f"(while :; do echo beat >> {beats}; sleep 0.1; done) & wait"
    made = Repository(tmp_path / "ops")
    made.commit(
        sleeps=job("sleeps", f"process: {{command: {json.dumps(['sh', '-c', script])}}}"),
        polls=job(
            "polls",
            f'http: {{method: POST, url: "{target.url}/make", cancel: {{method: POST, url: "{target.url}/cancel"}}}}',
            "until: result.id == 8\nevery: 30s",
        ),
        one=task("one", "job: sleeps"),
        two=task("two", "job: polls"),
    )
    with Controller(made.folder, state, "--enable", "process") as controller:
        controller.until(lambda: beats.exists() and target.requests)

        revoked: list[Any] = [
            CliRunner().invoke(app, ["revoke", name, "--reason", "stop", "--source", str(made.folder)])
            for name in ("one", "two")
        ]
        stopped = [controller.reaches(name, "revoked") for name in ("one", "two")]

    assert [each.exit_code for each in revoked] == [0, 0]
    assert [each.record.message for each in stopped] == ["stop", "stop"], "nothing is said that may still run"
    assert paths(target)[-1] == "/cancel"
    size = wait_for(lambda: beats.stat().st_size)
    time.sleep(0.4)
    assert beats.stat().st_size == size, "the child of the command is gone, too"
