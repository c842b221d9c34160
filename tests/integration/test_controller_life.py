"""The life of a controller: its lock, its ends, what it adopts, what it refuses, and the API process beside it."""

import base64
import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from state.inspection import inspect
from state.reader import Reader
from tests.controllers import COMMAND, Controller, command, found, job, run_until_idle, task, wait_for
from tests.loopback import Loopback, answer, silence
from tests.repositories import Repository


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/ok"] = answer(200, {"n": 1})
        server.routes["/slow"] = silence(30)
        yield server


@pytest.fixture
def repository(tmp_path, target):
    made = Repository(tmp_path / "repository")
    made.write("jobs.yaml", job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"))
    return made


def settings(tmp_path: Path, value: object) -> tuple[str, str]:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(value))
    return ("--settings", str(file))


# -- one controller a folder ---------------------------------------------------------------------------------------------


def test_a_second_controller_ends_at_once_and_says_who_has_the_folder(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as first:
        first.started()
        began = time.monotonic()

        second = command("run", "--source", str(repository.folder), "--state", str(tmp_path / "state"))

        seconds = time.monotonic() - began
    assert second.returncode == 1
    assert f"process {first.process.pid}" in second.stderr and "--wait" in second.stderr
    assert len(second.stderr.splitlines()) <= 2
    assert seconds < 10  # a second for the lock, the rest is for a machine with much else to do


def test_a_controller_that_waits_takes_over_from_one_that_was_killed(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as first:
        first.reaches("one", "finished")
        with Controller(repository.folder, tmp_path / "state", "--wait") as second:
            time.sleep(0.8)
            assert second.process.poll() is None
            first.kill()
            second.started()
            repository.commit(two=task("two", "job: ok"))
            second.reaches("two", "finished")


def test_a_controller_that_waits_can_be_told_to_end(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as first:
        first.started()
        with Controller(repository.folder, tmp_path / "state", "--wait") as second:
            time.sleep(1.0)

            second.terminate(5)

        assert first.process.poll() is None


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    (tmp_path / "file").write_text("not a folder")

    ended = command("run", "--source", str(repository.folder), "--state", str(tmp_path / "file" / "state"))

    assert ended.returncode == 1
    assert "cannot be made" in ended.stderr and "Traceback" not in ended.stderr


def test_a_read_only_state_folder_is_one_clear_line(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    run_until_idle(repository.folder, tmp_path / "state")
    folder = str(tmp_path / "state")
    mounts = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}" && exec "$@"'
    words = [*COMMAND, "run", "--source", str(repository.folder), "--state", folder, "--until-idle"]

    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounts, "sh", *words], capture_output=True, text=True, check=False, timeout=30
    )

    if "unshare" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"a read-only mount needs the right to mount: {ended.stderr.strip()}")
    assert ended.returncode == 1
    assert "cannot be written" in ended.stderr and "Traceback" not in ended.stderr


def test_a_log_that_cannot_be_written_does_not_end_the_controller(tmp_path, repository):
    """With no room for the state there is mostly none for the log beside it."""
    to_a_full_disk = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    nothing_new = {"RECONCILER_MIN_FREE": "1000000GiB", "PYTHONUNBUFFERED": ""}
    with Controller(repository.folder, tmp_path / "state", wrapped=to_a_full_disk, env=nothing_new) as controller:
        controller.follows(repository.commit(one=task("one", "job: ok")))
        controller.follows(repository.commit(two=task("two", "job: ok")))

        assert controller.terminate() == 0


# -- the end -------------------------------------------------------------------------------------------------------------


def sleeper(marks: Path) -> str:
    """A command that writes down that it runs, and ends when there is a file beside that which says so."""
    wait = 'i=0; while [ ! -e "$0.go" ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.05; done'
    script = f'echo "$RECONCILER_ATTEMPT_KEY" >> "$0"; {wait}; echo \'{{"n": 7}}\''
    words = ["sh", "-c", script, str(marks)]
    return job("sleep", f"process: {{command: {json.dumps(words)}}}", "outputs: {n: result.json.n}")


def test_sigterm_under_load_ends_soon_and_the_work_goes_on_and_is_adopted(tmp_path, repository, target):
    marks = tmp_path / "marks"
    repository.write("sleep.yaml", sleeper(marks))
    repository.write("slow.yaml", job("slow", f"http: {{url: {target.url}/slow}}"))
    tasks = {f"load{number}": task(f"load{number}", "job: slow") for number in range(20)}
    repository.commit(one=task("one", "job: sleep"), **tasks)
    with Controller(repository.folder, tmp_path / "state", "--enable", "process") as first:
        first.until(lambda: marks.exists() and len(target.requests) == 20)

        began = time.monotonic()
        assert first.terminate() == 0
        assert time.monotonic() - began < 10

    assert found(tmp_path / "state", "one").record.phase.value == "running"
    target.routes["/slow"] = answer(200, {})
    Path(f"{marks}.go").touch()
    ended = run_until_idle(repository.folder, tmp_path / "state", "--enable", "process")

    assert ended.process.returncode == 0
    assert found(tmp_path / "state", "one").steps["job"].outputs == {"n": 7}
    assert len(marks.read_text().split()) == 1
    assert inspect(tmp_path / "state") == []


def test_a_controller_whose_state_folder_is_gone_ends_and_sends_nothing_more(tmp_path, repository, target):
    state = tmp_path / "state"
    with Controller(repository.folder, state) as controller:
        controller.follows(repository.commit())
        state.rename(tmp_path / "elsewhere")
        repository.commit(one=task("one", "job: ok"))

        assert controller.wait() == 1
        assert "was removed or replaced while this controller was running" in controller.text
        assert "Traceback" not in controller.text
    assert not target.requests


def test_an_end_right_after_the_start_is_an_orderly_one(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until((tmp_path / "state" / "heartbeat").exists)

        assert controller.terminate(10) == 0


# -- what is refused, and how it is said -----------------------------------------------------------------------------------


def test_a_process_job_without_the_driver_switched_on_names_the_flag(tmp_path, repository):
    repository.write("sleep.yaml", sleeper(tmp_path / "marks"))
    repository.commit(one=task("one", "job: sleep"))

    ended = run_until_idle(repository.folder, tmp_path / "state")

    assert ended.process.returncode == 1
    assert "--enable process" in found(tmp_path / "state", "one").record.message
    assert not (tmp_path / "marks").exists()


def test_the_strict_profile_refuses_and_names_the_setting_that_would_allow_it(tmp_path, repository, target):
    repository.commit(one=task("one", "job: ok"))

    run_until_idle(
        repository.folder, tmp_path / "state", "--adopt", "start", *settings(tmp_path, {"profile": "strict"})
    )

    one = found(tmp_path / "state", "one")
    assert one.record.phase.value == "failed"
    assert "policy.rules" in one.record.message and "hosts" in one.record.message
    assert target.requests == []


def test_the_strict_profile_lets_through_what_a_rule_grants(tmp_path, repository):
    rules = [{"path": "jobs.yaml", "hosts": ["127.0.0.1"]}]
    flags = settings(
        tmp_path, {"profile": "strict", "drivers": {"http": {"loopback": True}}, "policy": {"rules": rules}}
    )
    repository.commit(one=task("one", "job: ok"))

    ended = run_until_idle(repository.folder, tmp_path / "state", "--adopt", "start", *flags)

    assert ended.process.returncode == 0


def test_without_room_on_the_disk_nothing_is_dispatched_and_it_is_said(tmp_path, repository, target):
    facts = os.statvfs(tmp_path)
    full = {"minFree": facts.f_bavail * facts.f_frsize * 2}
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state", *settings(tmp_path, full)) as controller:
        controller.until(lambda: controller.found("one"))
        controller.until(lambda: "nothing new is dispatched" in controller.text)
        time.sleep(0.5)
        assert target.requests == []
        assert controller.terminate() == 0

    ended = run_until_idle(repository.folder, tmp_path / "state")

    assert ended.process.returncode == 0
    assert len(target.requests) == 1


@pytest.fixture
def small(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_stops_nothing_for_good(tmp_path, repository, target, small):
    flags = settings(tmp_path, {"minFree": 0, "source": {"poll": "1s"}})
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, small / "state", *flags) as controller:
        controller.reaches("one", "finished")
        filler = small / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        repository.commit(**{f"t{number}": task(f"t{number}", "job: ok") for number in range(30)})
        controller.until(lambda: "nothing can be recorded" in controller.text or "unavailable" in controller.text)

        filler.unlink()

        for number in range(30):
            controller.reaches(f"t{number}", "finished", seconds=45)
    assert len(calls := [request.key for request in target.requests]) == 31 == len(set(calls))
    assert inspect(small / "state") == []


# -- secrets ---------------------------------------------------------------------------------------------------------------

CANARY = 'Zq7!canary/"é+value'


def canary_forms() -> list[bytes]:
    raw = CANARY.encode()
    return [
        raw,
        base64.b64encode(raw),
        quote(CANARY, safe="").encode(),
        quote(CANARY).encode(),
        json.dumps(CANARY)[1:-1].encode(),
        json.dumps(CANARY, ensure_ascii=False)[1:-1].encode(),
    ]


def test_a_secret_is_in_no_byte_of_the_state_and_in_no_answer(tmp_path, repository, target):
    target.routes["/echo"] = lambda request, connection: answer(
        500 if b"fail" in request.body else 200, {"said": request.headers["x-token"], "body": request.body.decode()}
    )(request, connection)
    echo = f"http: {{method: POST, url: {target.url}/echo, headers: {{X-Token: {{secret: db/password}}}}, body: %s}}"
    words = json.dumps(["sh", "-c", 'printf %s "$TOKEN"; printf %s "$TOKEN" | base64 -w0; echo; exit "$0"'])
    process = [
        f"process: {{command: {words[:-1]}, '{code}'], env: {{TOKEN: {{secret: db/password}}}}}}" for code in (0, 3)
    ]
    blocks = {"echo": echo % "fine", "broken": echo % "fail", "say": process[0], "die": process[1]}
    repository.write("jobs2.yaml", "".join(job(name, block, "outputs: {}") for name, block in blocks.items()))
    repository.commit(**{name: task(name, f"job: {name}") for name in blocks})
    given = {"RECONCILER_SECRET_DB_PASSWORD": CANARY}
    state = tmp_path / "state"
    with Controller(repository.folder, state, "--enable", "process", api=True, env=given) as controller:
        for name in blocks:
            controller.reaches(name, "finished", "failed")
        tasks = [f"/tasks/default/{name}" for name in blocks]
        paths = ["/tasks", "/definitions", "/events", *tasks, *(f"{each}/attempts" for each in tasks)]
        answers = "".join(json.dumps(controller.get(path), ensure_ascii=False) for path in paths)
        controller.kill()
    written = {file: file.read_bytes() for file in state.rglob("*") if file.is_file()}
    written[Path("answers")] = answers.encode()
    written[Path("output")] = controller.text.encode()

    assert [request.headers["x-token"] for request in target.requests] == [CANARY, CANARY]
    assert [str(file) for file, data in written.items() for form in canary_forms() if form in data] == []
    assert {name: found(state, name).record.phase.value for name in blocks} == {
        "echo": "finished",
        "broken": "failed",
        "say": "finished",
        "die": "failed",
    }


# -- adoption and retention ------------------------------------------------------------------------------------------------


def test_what_is_held_at_a_cold_start_begins_when_somebody_adopts_it(tmp_path, repository, target):
    repository.commit(one=task("one", "job: ok"), two=task("two", "job: ok"))
    state = tmp_path / "state"
    assert run_until_idle(repository.folder, state, "--adopt", "hold").process.returncode == 2
    assert target.requests == []
    assert found(state, "one").record.phase.value == "unadopted"

    preview = command("adopt", "--all", "--dry-run", "--state", str(state))
    assert "default/one" in preview.stdout and not list((state / "requests").iterdir())
    assert command("adopt", "default/one", "--state", str(state)).returncode == 0

    assert run_until_idle(repository.folder, state, "--adopt", "hold").process.returncode == 2
    assert len(target.requests) == 1
    with Controller(repository.folder, state) as controller:
        controller.started()
        assert command("adopt", "--all", "--state", str(state)).returncode == 0
        controller.reaches("two", "finished")
        controller.until(lambda: not list((state / "requests").iterdir()))
    reader = Reader(state)
    causes = {event.cause.kind for event in reader.events(limit=500).items if event.before == "unadopted"}
    reader.close()
    assert causes == {"operator"}


def test_retention_lets_rows_go_and_the_tombstone_keeps_the_task_from_running_again(tmp_path, repository, target):
    repository.commit(one=task("one", "job: ok"), two=task("two", "job: ok"))
    state = tmp_path / "state"
    run_until_idle(repository.folder, state)
    logs = {each.name for each in (state / "logs").iterdir()}
    flags = settings(tmp_path, {"retention": {"perNamespace": 1}})

    with Controller(repository.folder, state, *flags) as controller:
        gone = controller.until(lambda: [name for name in ("one", "two") if not controller.found(name)])
        controller.until(lambda: len(list((state / "logs").iterdir())) == len(logs) - 1)
    (name,) = gone
    (repository.folder / f"{name}.yaml").write_text(task(name, "job: ok", "deletePolicy: finish"))
    repository.commit("touch it", three=task("three", "job: ok"))
    run_until_idle(repository.folder, state)

    assert len(target.requests) == 3
    assert found(state, name) is None
    assert inspect(state) == []


# -- the API process -------------------------------------------------------------------------------------------------------


def test_a_killed_api_process_is_started_again(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state", api=True) as controller:
        controller.until(lambda: controller.get("/tasks/default/one"))
        first = controller.api["pid"]
        os.kill(first, 9)

        controller.until(lambda: controller.api["pid"] != first)

        assert controller.until(lambda: controller.get("/tasks/default/one"))["metadata"]["name"] == "one"


def test_the_api_process_ends_with_a_killed_parent(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state", api=True) as controller:
        controller.until(lambda: controller.get("/tasks/default/one"))
        child = Path("/proc") / str(controller.api["pid"])
        controller.kill()

        wait_for(lambda: not child.exists(), 5)


def test_a_busy_default_port_is_stepped_over(tmp_path, repository):
    repository.commit(one=task("one", "job: ok"))
    with socket.socket() as occupied:
        try:
            occupied.bind(("127.0.0.1", 8080))
            occupied.listen()
        except OSError:
            pass  # somebody else makes it busy, which is as good
        with Controller(repository.folder, tmp_path / "state", listen=None) as controller:
            address = controller.api["address"]

    assert 8080 < int(address.rpartition(":")[2]) < 8180
