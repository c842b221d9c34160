"""What a crash may come between, chosen on purpose: a revocation, a timeout, a rewrite of history, an older database."""

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from state.inspection import inspect
from state.phases import AttemptPhase
from state.rows import NEVER
from tests.controllers import Controller, command, found, job, run_until_idle, task, wait_for
from tests.loopback import Loopback, Request, answer
from tests.repositories import Repository

PROCESS = ("--enable", "process")


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/ok"] = answer(200, {"n": 1})
        yield server


@pytest.fixture
def repository(tmp_path, target):
    made = Repository(tmp_path / "repository")
    made.write("jobs.yaml", job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"))
    return made


def script(text: str, *words: Path, more: str = "") -> str:
    line = json.dumps(["sh", "-c", text, *map(str, words)])
    return job("script", f"process: {{command: {line}, grace: 1s}}", more)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_that_is_revoked_while_the_controller_is_down_is_really_stopped(tmp_path, repository):
    pid = tmp_path / "pid"
    repository.write("script.yaml", script('echo $$ > "$0"; exec sleep 30', pid))
    repository.commit("run", one=task("one", "job: script"))
    with Controller(repository.folder, tmp_path / "state", *PROCESS) as controller:
        number = int(controller.until(lambda: pid.exists() and pid.read_text().strip()))
        controller.kill()
    assert alive(number)
    repository.commit("stop", one=task("one", "job: script", "control: {state: revoked, reason: CHG-7}"))

    ended = run_until_idle(repository.folder, tmp_path / "state", *PROCESS)

    one = found(tmp_path / "state", "one")
    assert ended.process.returncode == 1
    assert (one.record.phase.value, one.record.message) == ("revoked", "CHG-7")
    assert one.attempts["job"].phase is AttemptPhase.CANCELLED
    wait_for(lambda: not alive(number), 3)


def test_a_result_that_was_there_before_the_timeout_wins_although_nobody_looked_in_time(tmp_path, repository):
    marks = tmp_path / "marks"
    text = 'echo x >> "$0"; sleep 0.3; echo \'{"n": 5}\''
    repository.write("script.yaml", script(text, marks, more="timeout: 2s\noutputs: {n: result.json.n}"))
    repository.commit("run", one=task("one", "job: script"))
    with Controller(repository.folder, tmp_path / "state", *PROCESS) as controller:
        controller.until(marks.exists)
        controller.kill()
    time.sleep(2.2)

    run_until_idle(repository.folder, tmp_path / "state", *PROCESS)

    one = found(tmp_path / "state", "one")
    assert one.record.phase.value == "finished", one.record.message
    assert one.steps["job"].outputs == {"n": 5}
    assert marks.read_text() == "x\n"


def test_a_command_whose_timeout_passed_during_the_downtime_is_stopped(tmp_path, repository):
    pid = tmp_path / "pid"
    repository.write("script.yaml", script('echo $$ > "$0"; exec sleep 30', pid, more="timeout: 2s"))
    repository.commit("run", one=task("one", "job: script"))
    with Controller(repository.folder, tmp_path / "state", *PROCESS) as controller:
        number = int(controller.until(lambda: pid.exists() and pid.read_text().strip()))
        controller.kill()
    time.sleep(2.1)

    run_until_idle(repository.folder, tmp_path / "state", *PROCESS)

    assert found(tmp_path / "state", "one").attempts["job"].phase is AttemptPhase.TIMED_OUT
    wait_for(lambda: not alive(number), 3)


def test_a_crash_while_a_command_is_being_stopped_does_not_change_why_it_ended(tmp_path, repository):
    pid = tmp_path / "pid"
    stubborn = script('trap "" TERM; echo $$ > "$0"; exec sleep 20', pid, more="timeout: 1s")
    repository.write("script.yaml", stubborn.replace("grace: 1s", "grace: 20s"))
    repository.commit("run", one=task("one", "job: script"))
    with Controller(repository.folder, tmp_path / "state", *PROCESS) as controller:
        number = int(controller.until(lambda: pid.exists() and pid.read_text().strip()))
        controller.until(lambda: controller.found("one").attempts["job"].phase is AttemptPhase.CANCELLING)
        controller.kill()
    os.kill(number, signal.SIGKILL)
    wait_for(lambda: not alive(number), 3)

    run_until_idle(repository.folder, tmp_path / "state", *PROCESS)

    assert found(tmp_path / "state", "one").attempts["job"].phase is AttemptPhase.TIMED_OUT


def test_a_definition_that_changes_during_the_downtime_does_not_reach_what_has_begun(tmp_path, repository, target):
    opened: list[bool] = []

    def gate(request: Request, connection) -> None:
        answer(200, {"open": bool(opened)})(request, connection)

    target.routes["/gate"] = gate
    repository.write("wait.yaml", job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 50ms"))
    steps = "spec:\n  flow: [a, b]\n  steps: {a: {job: wait}, b: {job: %s}}\n"
    head = "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: flow}\n"
    repository.commit("run", flow=head + steps % "ok", one=task("one", "workflow: flow"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until(lambda: target.requests)
        controller.kill()
    repository.commit("change", flow=head + steps % "wait")
    opened.append(True)

    run_until_idle(repository.folder, tmp_path / "state")

    assert found(tmp_path / "state", "one").record.phase.value == "finished"
    assert target.requests[-1].path == "/ok"


def test_a_clock_that_is_put_back_before_a_start_stalls_no_poll(tmp_path, repository, target):
    def gate(request: Request, connection) -> None:
        answer(200, {"open": len(target.requests) > 1})(request, connection)

    def polls(controller: Controller) -> bool:
        one = controller.found("one")
        return bool(one and "job" in one.attempts and one.attempts["job"].phase is AttemptPhase.POLLING)

    target.routes["/gate"] = gate
    repository.write("wait.yaml", job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 2s"))
    repository.commit(one=task("one", "job: wait"))
    state, day = tmp_path / "state", 86_400
    with Controller(repository.folder, state) as controller:
        controller.until(lambda: polls(controller))
        controller.kill()
    with closing(sqlite3.connect(state / "state.db")) as connection, connection:  # as if it had run a day later
        for statement in (
            "UPDATE attempts SET wake_at = wake_at + :day, deadline = deadline + :day",
            "UPDATE tasks SET deadline = deadline + :day, expected_finish = expected_finish + :day",
            f"UPDATE tasks SET due = coalesce(expected_finish, deadline, {NEVER})",
            "UPDATE wakes SET at = at + :day",
        ):
            connection.execute(statement, {"day": day * 1_000_000})
    os.utime(state / "heartbeat", (time.time() + day, time.time() + day))

    ended = run_until_idle(repository.folder, state)

    assert ended.process.returncode == 0
    assert "the clock went back" in ended.text
    assert found(state, "one").record.phase.value == "finished"


def test_a_plain_post_whose_reply_was_lost_is_held_and_never_sent_again(tmp_path, repository, target):
    target.routes["/post"] = lambda request, connection: time.sleep(5)
    repository.write("post.yaml", job("post", f"http: {{method: POST, url: {target.url}/post}}"))
    repository.commit(one=task("one", "job: post"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until(lambda: target.requests)
        controller.kill()

    codes = [run_until_idle(repository.folder, tmp_path / "state").process.returncode for _ in range(2)]

    one = found(tmp_path / "state", "one")
    assert (one.record.phase.value, one.record.reason) == ("failed", "Lost")
    assert codes == [1, 1]
    assert len(target.requests) == 1


def test_a_post_that_can_be_verified_is_looked_up_instead_of_sent_again(tmp_path, repository, target):
    done: list[str] = []

    def post(request: Request, _connection) -> None:
        done.append(request.key)
        time.sleep(5)

    target.routes["/post"] = post
    target.routes["/status"] = answer(200, {"done": True, "id": 7})
    verify = f"verify: {{url: {target.url}/status, found: result.done, result: result}}"
    block = f"http: {{method: POST, url: {target.url}/post, {verify}}}"
    repository.write("post.yaml", job("post", block, "outputs: {id: result.id}"))
    repository.commit(one=task("one", "job: post"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until(lambda: done)
        controller.kill()

    ended = run_until_idle(repository.folder, tmp_path / "state")

    assert ended.process.returncode == 0
    assert found(tmp_path / "state", "one").steps["job"].outputs == {"id": 7}
    assert len(done) == 1


def test_an_older_database_holds_what_it_does_not_know_the_end_of(tmp_path, repository, target):
    state, copy = tmp_path / "state", tmp_path / "backup.db"
    repository.commit("one", one=task("one", "job: ok"))
    run_until_idle(repository.folder, state)
    saved = command("backup", "--state", str(state), str(copy))
    assert saved.returncode == 0, saved.stderr
    repository.commit("two", two=task("two", "job: ok"))
    run_until_idle(repository.folder, state)
    restored = command("restore", "--state", str(state), str(copy))
    assert restored.returncode == 0, restored.stderr

    ended = run_until_idle(repository.folder, state)

    assert ended.process.returncode == 2, ended.text[-2000:]
    assert len(target.requests) == 2
    assert inspect(state) == []
