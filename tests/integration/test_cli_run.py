"""`reconciler run` as a process of its own: what it makes of a repository, what it says, and how it ends."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from reconciler import demo_service
from tests import controllers
from tests.repositories import Repository

DEADLINE = 30.0
JOB = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: hello}
spec:
  params: {name: string}
  http: {url: "%s/hello", query: {name: "${{ params.name }}"}}
  outputs: {message: result.message}
"""
TASK = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: %s}\nspec: {job: hello, with: {name: %s}}\n"


@pytest.fixture
def service() -> Iterator[str]:
    server = demo_service.start("127.0.0.1:0")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "ops")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "reconciler.cli.app", *map(str, arguments)]


def run_until_idle(repository: Repository, *options: object) -> subprocess.CompletedProcess[str]:
    state = repository.folder.parent / "state"
    place = ("--source", repository.folder, "--state", state, "--listen", "off")
    return controllers.command("run", *place, "--until-idle", *options, seconds=DEADLINE)


def cli(repository: Repository, *arguments: object) -> str:
    state = repository.folder.parent / "state"
    done = controllers.command(*arguments, "--state", state, seconds=DEADLINE)
    done.check_returncode()
    return done.stdout


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_committed_task_is_run_to_its_end_and_read_back(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))

    done = run_until_idle(repository)

    assert done.returncode == 0, done.stderr
    assert "✓ default/world  FINISHED" in done.stdout
    assert done.stdout.splitlines()[-1] == "idle: 1 FINISHED"
    assert "message=hello, world" in cli(repository, "tree", "world")
    assert '{"message": "hello, world"}' in cli(repository, "logs", "world")
    assert cli(repository, "get", "sources").count("main") >= 1
    assert "hello" in cli(repository, "get", "definitions", "--kind", "Job")
    with urlopen(f"{service}/counts", timeout=5) as response:
        assert json.load(response)["paths"] == {"/hello": 1}


def test_running_again_does_nothing_twice(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))
    run_until_idle(repository)

    again = run_until_idle(repository)

    assert again.returncode == 0
    with urlopen(f"{service}/counts", timeout=5) as response:
        assert json.load(response)["paths"] == {"/hello": 1}


def test_a_failed_task_is_exit_code_1(repository):
    repository.commit("hello", hello=JOB % "http://127.0.0.1:1", world=TASK % ("world", "world"))

    done = run_until_idle(repository)

    assert done.returncode == 1
    assert "✗ default/world  FAILED" in done.stdout


def test_a_rejected_file_is_exit_code_1_and_is_counted_in_the_last_line(repository, service):
    repository.commit(
        "hello", hello=JOB % service, world=TASK % ("world", "world"), odd="apiVersion: reconciler/v1\nkind: Task\n"
    )

    done = run_until_idle(repository)

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "idle: 1 FINISHED, 1 rejected (reconciler get definitions --rejected)"


def test_held_tasks_are_exit_code_2_until_they_are_adopted(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))
    held = run_until_idle(repository, "--adopt", "hold")
    preview = cli(repository, "adopt", "--all", "--dry-run")
    cli(repository, "adopt", "world")

    adopted = run_until_idle(repository)

    assert held.returncode == 2
    assert "would adopt default/world" in preview
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr


def test_without_task_files_it_says_so(repository, service):
    repository.commit("only a job", hello=JOB % service)

    done = run_until_idle(repository)

    assert done.returncode == 0
    assert "nothing to do: 0 task files under . at main (" in done.stdout


def test_a_task_whose_file_is_rejected_is_answered_with_the_place_of_the_problem(repository, service):
    broken = TASK.replace("spec: {job", "spec: {jobb") % ("world", "world")
    repository.commit("hello", hello=JOB % service, world=broken)
    run_until_idle(repository)

    for name in ("world", "default/world"):
        for verb in ("why", "tree"):
            asked = subprocess.run(
                command(verb, name, "--state", repository.folder.parent / "state"),
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode == 1
            assert "default/world is rejected: world.yaml:4:" in asked.stderr, asked.stderr


def test_why_tells_that_what_the_file_of_a_task_says_now_does_not_count(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))
    run_until_idle(repository)
    repository.commit("a slip", world=TASK % ("world", "world") + "control: {state: paused}\n")
    run_until_idle(repository)

    told = json.loads(cli(repository, "why", "world", "-o", "json"))
    said = cli(repository, "why", "world").splitlines()

    (line,) = (each for each in said if each.startswith("its file is rejected, and its last good version counts: "))
    assert line.endswith(told["rejected"])
    assert "world.yaml:5:" in told["rejected"]
    repository.commit("mended", world=TASK % ("world", "world"))
    run_until_idle(repository)
    assert json.loads(cli(repository, "why", "world", "-o", "json"))["rejected"] is None


def test_why_tells_that_no_later_commit_is_in_force(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))
    run_until_idle(repository)
    before = cli(repository, "why", "world")
    repository.git("rm", "-q", "hello.yaml", "world.yaml")
    repository.commit("all is gone")
    run_until_idle(repository)
    state = repository.folder.parent / "state"
    nobody = controllers.command("why", "nobody", "--state", state, seconds=DEADLINE)

    assert "there is no task nobody; " in nobody.stderr
    assert "; no later commit is in force: EmptySource: " in nobody.stderr
    said = cli(repository, "why", "world")

    assert "no later commit is in force" not in before
    assert "no later commit is in force: EmptySource: " in said
    assert json.loads(cli(repository, "why", "world", "-o", "json"))["sourceStands"].startswith("EmptySource: ")


def test_a_file_that_controls_what_no_trigger_has_made_is_answered_with_that(repository, service):
    ghost = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: ghost}\ncontrol: {state: suspended, reason: x}\n"
    repository.commit("hello", hello=JOB % service, ghost=ghost)
    run_until_idle(repository)

    asked = subprocess.run(
        command("why", "ghost", "--state", repository.folder.parent / "state"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert asked.returncode == 1
    assert asked.stderr == (
        "error: ghost.yaml controls the task default/ghost, and no trigger has made one of this name yet\n"
    )


def test_an_address_that_others_reach_needs_a_token_before_anything_starts(repository, tmp_path):
    done = subprocess.run(
        command("run", "--source", repository.folder, "--state", tmp_path / "state", "--listen", "0.0.0.0:0"),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert done.returncode == 1
    assert "`api.tokenFile`" in done.stderr
    assert not (tmp_path / "state").exists()


def test_uncommitted_files_are_named_because_they_do_nothing(repository, service):
    repository.commit("only a job", hello=JOB % service)
    repository.write("world.yaml", TASK % ("world", "world"))

    done = run_until_idle(repository)

    assert "warning: not committed, so not in force: world.yaml" in done.stderr


def test_a_running_controller_serves_its_state_refuses_a_second_one_and_ends_on_sigterm(repository, service):
    repository.commit("only a job", hello=JOB % service)
    state = repository.folder.parent / "state"
    place = ("--source", repository.folder, "--state", state)
    with subprocess.Popen(
        command("run", *place, "--listen", "127.0.0.1:0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as controller:
        try:
            wait_for((state / "api.json").exists)
            server = json.loads((state / "api.json").read_text())["address"]
            wait_for(lambda: _answers(server))
            repository.commit("a task", world=TASK % ("world", "world"))
            followed = subprocess.run(
                command("tree", "world", "-f", "--server", server), capture_output=True, text=True, check=False
            )
            while followed.returncode:  # not picked up yet
                followed = subprocess.run(
                    command("tree", "world", "-f", "--server", server), capture_output=True, text=True, check=False
                )
            begun = time.monotonic()
            second = subprocess.run(
                command("run", *place), capture_output=True, text=True, timeout=DEADLINE, check=False
            )
            refused_after = time.monotonic() - begun
        finally:
            controller.send_signal(signal.SIGTERM)
            said = controller.communicate(timeout=DEADLINE)[0]

    assert "FINISHED" in followed.stdout
    assert "✓ default/world  FINISHED" in said
    assert second.returncode == 1
    assert str(controller.pid) in second.stderr
    assert refused_after < 5
    assert controller.returncode == 0


def _answers(server: str) -> bool:
    try:
        with urlopen(f"{server}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_serve_reads_a_state_folder_without_a_controller(repository, service):
    repository.commit("hello", hello=JOB % service, world=TASK % ("world", "world"))
    run_until_idle(repository)
    state = repository.folder.parent / "state"
    with subprocess.Popen(
        command("serve", "--state", state, "--listen", "127.0.0.1:0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_for((state / "api.json").exists)
            address = json.loads((state / "api.json").read_text())["address"]
            wait_for(lambda: _alive(address))
            listed = subprocess.run(
                command("get", "tasks", "--server", address), capture_output=True, text=True, check=True
            ).stdout
        finally:
            server.terminate()
            server.wait(DEADLINE)

    assert "world" in listed
    assert "FINISHED" in listed


def _alive(server: str) -> bool:
    try:
        with urlopen(f"{server}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("arguments", [["run", "--source", "nowhere"], ["serve", "--state", "nowhere"]])
def test_a_foreseen_error_is_one_line(tmp_path: Path, arguments):
    done = subprocess.run(
        command(*arguments, *(["--state", str(tmp_path / "s"), "--until-idle"] if arguments[0] == "run" else [])),
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
