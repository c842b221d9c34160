"""What a commit means to a running controller: real Git, real SQLite, a real target, and the command itself."""

import json
from collections import Counter
from pathlib import Path

import pytest

from state.phases import StepPhase
from tests.controllers import Controller, conditions, found, job, run_until_idle, task, wait_for
from tests.loopback import Loopback, Request, answer, silence
from tests.repositories import Repository


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/ok"] = answer(200, {"n": 1})
        server.routes["/slow"] = silence(0.8)
        yield server


@pytest.fixture
def repository(tmp_path, target):
    made = Repository(tmp_path / "repository")
    made.write("jobs.yaml", job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"))
    return made


def calls(target: Loopback) -> Counter[str]:
    return Counter(request.key for request in target.requests)


def gate(target: Loopback, path: str):
    """A route that answers `{"open": …}`: false until the returned list has something in it."""
    opened: list[bool] = []

    def route(request: Request, connection) -> None:
        answer(200, {"open": bool(opened)})(request, connection)

    target.routes[path] = route
    return opened


def waiting_job(target: Loopback) -> str:
    return job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 50ms")


def test_a_commit_becomes_a_finished_task_that_says_who_wanted_it(tmp_path, repository, target):
    commit = repository.commit("Please run it", one=task("one", "job: ok"))

    ended = run_until_idle(repository.folder, tmp_path / "state")

    one = found(tmp_path / "state", "one")
    assert ended.process.returncode == 0
    assert one.steps["job"].outputs == {"n": 1}
    assert (one.record.origin.commit, one.record.origin.author) == (commit, "Alice Author")
    assert (one.record.origin.path, one.record.origin.subject) == ("one.yaml", "Please run it")
    assert len(target.requests) == 1


def test_a_commit_during_a_run_is_picked_up_within_a_second_or_two(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("one", "finished")

        repository.commit(two=task("two", "job: ok"))

        controller.reaches("two", "finished", seconds=2.0)


def test_a_bad_file_is_told_with_its_place_and_the_good_one_beside_it_finishes(tmp_path, repository):
    bad = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\nspec: {http: {url: http://h}, shedule: 1}\n"
    repository.commit(one=task("one", "job: ok"), bad=bad)
    with Controller(repository.folder, tmp_path / "state", api=True) as controller:
        controller.reaches("one", "finished")

        listed = {each["status"]["source"]["path"]: each["status"] for each in definitions(controller)}

    (problem,) = listed["bad.yaml"]["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("bad.yaml", 4, 31)
    assert problem["code"] == "E-UNKNOWN-FIELD"
    assert "shedule" in problem["message"]
    assert listed["jobs.yaml"]["accepted"]


def definitions(controller: Controller) -> list[dict]:
    return controller.until(lambda: (controller.get("/definitions?limit=200") or {}).get("items", []))


def test_a_revision_with_a_bad_file_is_told_on_standard_error_and_by_the_exit_code(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"), bad="apiVersion: reconciler/v1\nkind: Job\n")

    ended = run_until_idle(repository.folder, tmp_path / "state")

    assert ended.process.returncode == 1
    assert "bad.yaml:" in ended.text
    assert found(tmp_path / "state", "one").record.phase.value == "finished"


def test_a_removed_file_stops_what_has_not_begun_and_added_back_goes_on_without_repeating(tmp_path, repository, target):
    opened = gate(target, "/gate")
    repository.write("wait.yaml", waiting_job(target))
    flow = (
        "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: two}\n"
        "spec:\n  flow: [a, b, c]\n  steps: {a: {job: ok}, b: {job: wait}, c: {job: ok}}\n"
    )
    repository.commit("add", flow=flow, one=task("one", "workflow: two"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until(lambda: any(request.path == "/gate" for request in target.requests))
        text = (repository.folder / "one.yaml").read_text()
        (repository.folder / "one.yaml").unlink()
        repository.commit("remove")
        controller.reaches("one", "removed")
        opened.append(True)
        controller.until(lambda: controller.found("one").steps["b"].phase is StepPhase.SUCCEEDED)
        assert "c" not in controller.found("one").steps

        repository.commit("and back", one=text)

        one = controller.reaches("one", "finished")

    assert [one.steps[path].attempt for path in "abc"] == [1, 1, 1]
    assert sum(request.path == "/ok" for request in target.requests) == 2


def test_a_file_that_leaves_and_returns_after_the_end_runs_nothing_again(tmp_path, repository, target):
    repository.commit("add", one=task("one", "job: ok"), two=task("two", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("one", "finished")
        controller.reaches("two", "finished")
        (repository.folder / "one.yaml").rename(repository.folder / "elsewhere.yaml")
        controller.follows(repository.commit("move"))
        (repository.folder / "elsewhere.yaml").unlink()
        controller.follows(repository.commit("remove"))

        controller.follows(repository.commit("revert", one=task("one", "job: ok")))

        repository.commit("another", three=task("three", "job: ok"))
        controller.reaches("three", "finished")
    assert len(target.requests) == 3


def test_suspend_holds_resume_goes_on_and_revoke_is_final(tmp_path, repository, target):
    gate(target, "/gate")
    repository.write("wait.yaml", waiting_job(target))
    repository.commit("run", one=task("one", "job: wait"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("one", "running")
        repository.commit("hold", one=task("one", "job: wait", "control: {state: suspended, reason: CHG-1}"))
        assert controller.reaches("one", "suspended").record.message == "CHG-1"
        held = len(target.requests)
        repository.commit("go on", one=task("one", "job: wait"))
        controller.reaches("one", "running")
        controller.until(lambda: len(target.requests) > held)

        repository.commit("stop", one=task("one", "job: wait", "control: {state: revoked, reason: CHG-2}"))

        controller.reaches("one", "revoked")
        repository.commit("never mind", one=task("one", "job: wait"))
        repository.commit("another", two=task("two", "job: ok"))
        controller.reaches("two", "finished")
        assert controller.found("one").record.phase.value == "revoked"
    assert run_until_idle(repository.folder, tmp_path / "state").process.returncode == 1


def test_run_two_runs_it_all_again_and_only_when_asked(tmp_path, repository, target):
    repository.commit("add", one=task("one", "job: ok"))
    run_until_idle(repository.folder, tmp_path / "state")
    repository.commit("again", one=task("one", "job: ok", "control: {run: 2}"))

    run_until_idle(repository.folder, tmp_path / "state")

    assert found(tmp_path / "state", "one").record.run == 2
    assert len(calls(target)) == 2


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ({"one": task("one", "job: ok")}, 0),
        ({"one": task("one", "job: missing"), "two": task("two", "job: ok")}, 1),
        ({"one": task("one", "job: ok", "control: {state: revoked, reason: no}")}, 1),
        ({"one": task("one", "job: ok", "control: {state: suspended, reason: later}")}, 2),
        ({}, 0),
    ],
    ids=["finished", "rejected", "revoked", "suspended", "nothing"],
)
def test_until_idle_ends_with_a_code_that_says_how_it_went(tmp_path, repository, tasks, code):
    repository.commit("run", **tasks)

    assert run_until_idle(repository.folder, tmp_path / "state").process.returncode == code


def test_a_failed_call_fails_its_task_and_the_other_one_finishes(tmp_path, repository, target):
    target.routes["/broken"] = answer(500, {})
    repository.write("broken.yaml", job("broken", f"http: {{url: {target.url}/broken}}"))
    repository.commit(one=task("one", "job: broken"), two=task("two", "job: ok"))

    ended = run_until_idle(repository.folder, tmp_path / "state")

    one = found(tmp_path / "state", "one")
    assert ended.process.returncode == 1
    assert (one.record.phase.value, one.record.reason) == ("failed", "StepFailed")
    assert "500" in one.record.message
    assert found(tmp_path / "state", "two").record.phase.value == "finished"


def test_a_source_that_is_not_there_yet_is_told_and_found_when_it_comes(tmp_path, target):
    place = tmp_path / "repository"
    flags = ("--settings", str(settings(tmp_path, {"source": {"poll": "200ms"}})))
    with Controller(place, tmp_path / "state", *flags) as controller:
        wait_for(lambda: "unavailable" in controller.text)
        made = Repository(place)
        made.commit(
            jobs=job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"), one=task("one", "job: ok")
        )

        controller.reaches("one", "finished")
        assert controller.conditions()["Ready"].startswith("True")


def settings(tmp_path: Path, value: object) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(value))
    return file


def test_a_source_that_goes_away_changes_nothing_and_comes_back(tmp_path, repository):
    flags = ("--settings", str(settings(tmp_path, {"source": {"poll": "200ms"}})))
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state", *flags) as controller:
        controller.reaches("one", "finished")
        away = repository.folder.rename(tmp_path / "away")
        controller.until(lambda: conditions(tmp_path / "state")["Ready"].startswith("False NotARepository"))
        assert controller.found("one").record.phase.value == "finished"

        away.rename(repository.folder)
        repository.commit(two=task("two", "job: ok"))

        controller.reaches("two", "finished")
        assert controller.conditions() == {"Ready": "True InForce "}
