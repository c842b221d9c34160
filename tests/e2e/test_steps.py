"""Steps in real containers, by a real controller."""

import json
from typing import Any

from state.phases import AttemptPhase, StepPhase
from tests.controllers import Controller, found, job, run_until_idle, task
from tests.engines import IMAGE, definitions_in


def test_a_new_container_runs_gives_its_result_and_is_removed(engine, tmp_path) -> None:
    block = {"run": {"image": IMAGE, "command": ["sh", "-c", 'echo "{\\"age\\": 20}"; echo told >&2']}}
    folder = definitions_in(
        tmp_path,
        job("make", f"container: {json.dumps(block)}", "outputs: {age: result.json.age}"),
        task("one", "job: make"),
    )

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state")

    engine.adopt(tmp_path / "state")
    done = found(tmp_path / "state", "one")
    assert ended.process.returncode == 0, ended.text
    assert done is not None and done.record.outputs == {"age": 20}
    assert engine.names() == []


def test_a_command_runs_in_every_container_that_is_meant_each_with_its_own_result(engine, tmp_path) -> None:
    for name in ("a", "b", "c"):
        engine.container(labels={"app": engine.mark, "which": name}, Env=[f"WHICH={name}"])
    engine.container(labels={"app": "another"})
    block = {"exec": ["sh", "-c", 'hostname; echo "$1"', "x"], "args": ["${{ params.word }}"]}
    block |= {"in": {"labels": {"app": "${{ params.app }}"}}, "user": "root"}
    more = "params: {app: string, word: string}\nparallelism: 2\noutputs: {said: '[each.stdout for each in result.targets]'}"
    folder = definitions_in(
        tmp_path,
        job("ask", f"container: {json.dumps(block)}", more),
        task("all", f"job: ask, with: {{app: {engine.mark!r}, word: 'a $(b) c'}}"),
    )

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state")

    done = found(tmp_path / "state", "all")
    assert ended.process.returncode == 0, ended.text
    assert done is not None and isinstance(done.record.outputs, dict)
    targets: Any = done.record.outputs["results"]
    assert len({each["id"] for each in targets}) == 3
    assert [each["stdout"] for each in targets] == [f"{each['id'][:12]}\na $(b) c\n" for each in targets]
    assert done.record.outputs["said"] == [each["stdout"] for each in targets]
    assert {each["exitCode"] for each in targets} == {0}
    assert sorted(done.attempts) == ["job", "job.0", "job.1", "job.2"]


def test_a_retry_runs_only_in_the_targets_that_did_not_succeed(engine, tmp_path) -> None:
    for _ in range(3):
        engine.container(labels={"app": engine.mark}, Binds=[f"{tmp_path}:/shared"])
    script = "mkdir /shared/first 2>/dev/null && echo broken >&2 && exit 3; hostname >>/shared/ran"
    block = {"exec": ["sh", "-c", script], "in": {"labels": {"app": engine.mark}}}
    more = "retry: {limit: 2, every: 0s}"
    folder = definitions_in(tmp_path, job("ask", f"container: {json.dumps(block)}", more), task("all", "job: ask"))

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state")

    done = found(tmp_path / "state", "all")
    assert ended.process.returncode == 0, ended.text
    assert done is not None
    assert sorted(done.steps[f"job.{each}"].attempt for each in range(3)) == [1, 1, 2]
    assert len(set((tmp_path / "ran").read_text().split())) == len((tmp_path / "ran").read_text().split()) == 3


def test_no_target_is_a_failure_that_says_so(engine, tmp_path) -> None:
    block = {"exec": ["true"], "in": {"labels": {"app": engine.mark}}}
    folder = definitions_in(tmp_path, job("ask", f"container: {json.dumps(block)}"), task("none", "job: ask"))

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state")

    done = found(tmp_path / "state", "none")
    assert ended.process.returncode == 1
    assert done is not None and done.steps["job"].phase is StepPhase.FAILED
    assert done.steps["job"].message == "NoTarget: no running container matches on local"


def test_an_image_that_is_not_there_is_named(engine, tmp_path) -> None:
    block = {"run": {"image": "local/nosuch:1", "pull": "never"}}
    folder = definitions_in(tmp_path, job("make", f"container: {json.dumps(block)}"), task("one", "job: make"))

    run_until_idle(f"dir:{folder}", tmp_path / "state")

    done = found(tmp_path / "state", "one")
    assert done is not None and done.attempts["job"].phase is AttemptPhase.FAILED
    assert done.attempts["job"].message.startswith("ImageMissing: local/nosuch:1 is not on local (`pull: never`)")


def test_the_job_of_seed_2_runs_over_three_containers_with_a_result_for_each(engine, tmp_path) -> None:
    service = f"2048_{engine.mark}"
    labels = {"app": "2048", "service": "2048_2048"}
    in_service = {"com.docker.swarm.service.name": service}
    ids = {engine.container(labels=in_service, Env=[f"NUMBER={each}"]) for each in range(3)}
    block = {
        "exec": ["sh", "-c", 'id -un; echo "$a"; echo "$#"; echo "password $1"; sleep 1', "x"],
        "in": {"labels": in_service},
        "user": "root",
        "env": {"a": "b"},
        "args": [{"secret": "db/password"}, {"secret": "db/other"}],
    }
    folder = definitions_in(
        tmp_path,
        job("上线", f"container: {json.dumps(block)}", "parallelism: 5\nonLost: hold", labels=labels),
        task("go", "job: 上线", labels=labels),
    )
    secrets = {"RECONCILER_SECRET_DB_PASSWORD": "c4nary one", "RECONCILER_SECRET_DB_OTHER": "c4nary-two"}

    with Controller(f"dir:{folder}", tmp_path / "state", api=True, env=secrets) as controller:
        controller.reaches("go", "finished", seconds=40)
        shown = controller.get("/tasks/default/go")["status"]["steps"][0]
        of_app = controller.get("/tasks?label=app=2048&label=service=2048_2048")["items"]
        log = controller.text_of("/tasks/default/go/log?step=job.1&follow=true")

    assert [each["metadata"]["name"] for each in of_app] == ["go"]
    assert {each["target"]["id"] for each in shown["steps"]} == ids
    assert [each["target"]["exitCode"] for each in shown["steps"]] == [0, 0, 0]
    assert all(each["state"] == "FINISHED" and each["startedAt"] and each["finishedAt"] for each in shown["steps"])
    assert [each["stdout"] for each in shown["outputs"]["results"]] == ["root\nb\n2\npassword ***\n"] * 3
    assert log == "root\nb\n2\npassword ***\n"
    everything = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert b"c4nary" not in everything


def test_a_task_that_is_revoked_ends_its_commands_in_every_container(engine, tmp_path) -> None:
    for _ in range(2):
        engine.container(labels={"app": engine.mark}, Binds=[f"{tmp_path}:/shared"])
    script = "trap 'echo told >>/shared/told; exit 1' TERM; touch /shared/$(hostname); while :; do sleep 0.1; done"
    block = {"exec": ["sh", "-c", script], "in": {"labels": {"app": engine.mark}}, "grace": 5}
    ask = job("ask", f"container: {json.dumps(block)}")
    folder = definitions_in(tmp_path, ask, task("one", "job: ask"))

    with Controller(f"dir:{folder}", tmp_path / "state") as controller:
        controller.reaches("one", "running")
        controller.until(lambda: len([each for each in tmp_path.iterdir() if len(each.name) == 12]) == 2)
        definitions_in(tmp_path, ask, task("one", "job: ask", "control: {state: revoked, reason: CHG-1}"))
        done = controller.reaches("one", "revoked", seconds=30)

    assert (tmp_path / "told").read_text() == "told\n" * 2
    assert {done.attempts[f"job.{each}"].phase for each in range(2)} == {AttemptPhase.CANCELLED}


def test_a_command_that_takes_too_long_is_stopped_and_so_is_a_container(engine, tmp_path) -> None:
    engine.container(labels={"app": engine.mark})
    block = {"exec": ["sleep", "600"], "in": {"labels": {"app": engine.mark}}, "grace": 0}
    made = {"run": {"image": IMAGE, "command": ["sleep", "600"]}, "grace": 0}
    folder = definitions_in(
        tmp_path,
        job("exec", f"container: {json.dumps(block)}", "timeout: 1s"),
        job("run", f"container: {json.dumps(made)}", "timeout: 2s"),
        task("one", "job: exec"),
        task("two", "job: run"),
    )

    run_until_idle(f"dir:{folder}", tmp_path / "state")

    engine.adopt(tmp_path / "state")
    one, two = (found(tmp_path / "state", name) for name in ("one", "two"))
    assert one is not None and one.attempts["job.0"].phase is AttemptPhase.TIMED_OUT
    assert two is not None and two.attempts["job"].phase is AttemptPhase.TIMED_OUT
    assert engine.names() == []
