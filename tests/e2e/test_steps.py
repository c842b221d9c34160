"""Steps in real containers, by a real controller."""

import json
from typing import Any

from state.phases import AttemptPhase, StepPhase
from tests.controllers import found, job, run_until_idle, task
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
