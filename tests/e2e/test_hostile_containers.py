"""Containers as they should not be: full, without a shell, stopped in between, a hundred of them, and two controllers at once."""

import io
import json
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.protocol import Ended, Running, Unknown
from state.phases import AttemptPhase
from tests.calls import Log, answered, make_call
from tests.controllers import Controller, found, job, run_until_idle, task
from tests.e2e.test_commands import begin, call_in, settle
from tests.engines import IMAGE, definitions_in

FULL = "for each in {}; do dd if=/dev/zero of=$each/fill bs=1k count=100; done 2>/dev/null; true"


@pytest.mark.parametrize("image", [IMAGE, "local/python:3.11"])
async def test_the_usual_shells_keep_a_receipt(engine, image) -> None:
    driver, log = engine.driver(), Log()
    script = 'cat; echo "$1"; echo err >&2; sleep 2; exit 5'
    target = engine.target(engine.container(image=image))
    call = call_in(target, "sh", "-c", script, "x", log=log, secrets=["c4nary"], stdin="given ", receipt="always")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and seen.code == 5
    assert (answered(seen)["stdout"], answered(seen)["stderr"]) == ("given ***\n", "err\n")


async def test_a_folder_without_room_keeps_no_receipt_and_the_next_one_does(engine) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(Tmpfs={"/var/tmp": "size=64k"}))
    engine.run(target["id"], "sh", "-c", FULL.format("/var/tmp"))
    call = call_in(target, "sh", "-c", "ls -d /tmp/.rc-*; echo done; exit 3")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and seen.code == 3
    place, said = answered(seen)["stdout"].splitlines()
    assert place.startswith("/tmp/.rc-") and said == "done"


async def test_where_there_is_no_room_at_all_nothing_is_run(engine, tmp_path) -> None:
    driver = engine.driver()
    places = ("/var/tmp", "/tmp", "/run")
    target = engine.target(
        engine.container(Tmpfs=dict.fromkeys(places, "size=64k"), ShmSize=65536, Binds=[f"{tmp_path}:/shared"])
    )
    engine.run(target["id"], "sh", "-c", FULL.format(" ".join((*places, "/dev/shm"))))
    call = call_in(target, "touch", "/shared/ran")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "nothing was run: no folder for a receipt" in seen.message
    assert not (tmp_path / "ran").exists()


async def test_a_command_that_fills_the_folder_of_its_own_receipt_still_has_its_exit_code(engine) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(Tmpfs={"/var/tmp": "size=64k"}))
    call = call_in(target, "sh", "-c", f"echo before; sleep 1; {FULL.format('/var/tmp')}; exit 4")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and seen.code == 4
    assert answered(seen)["stdout"] == "before\n" and answered(seen)["stderr"] == ""


async def test_what_looks_do_is_not_in_the_output(engine) -> None:
    driver, log = engine.driver(), Log()
    script = "i=0; while [ $i -lt 400 ]; do sleep 0.01 & wait; i=$((i+1)); done; (sleep 2 &)"
    call = call_in(engine.target(), "sh", "-c", script, log=log)
    seen = await begin(driver, call)
    while isinstance(seen, Running):
        seen = await engine.driver().observe(call, seen.handle)  # a driver that knows nothing looks at all of it

    assert isinstance(seen, Ended) and seen.succeeded, seen
    assert log.text("stderr") == "" == answered(seen)["stderr"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"workdir": "/nosuch"}, '"/nosuch"'),
        ({"user": "nosuch"}, "unable to find user nosuch"),
        ({"user": "nosuch", "receipt": "never"}, "unable to find user nosuch"),
    ],
)
async def test_a_folder_or_user_that_is_not_there_is_named(engine, block, said) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "true", **block)

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and not seen.succeeded
    assert said in seen.message


async def test_environment_with_line_breaks_and_output_with_controls_come_as_they_are(engine) -> None:
    driver, log = engine.driver(), Log()
    script = r'printf "%s|" "$A" "$B"; printf "\033]52;c;eA==\007\000."'
    call = call_in(engine.target(), "sh", "-c", script, log=log, env={"A": "x\ny=z", "B": ""})

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and log.bytes("stdout") == b"x\ny=z||\x1b]52;c;eA==\x07\0."
    assert answered(seen)["stdout"] == "x\ny=z||\x1b]52;c;eA==\x07\0."


@pytest.mark.parametrize(("change", "said"), [("pause", "is paused"), ("kill", "is not running")])
async def test_a_container_that_was_paused_or_stopped_since_it_was_found_runs_nothing(
    engine, tmp_path, change, said
) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(Binds=[f"{tmp_path}:/shared"]))
    call = call_in(target, "touch", "/shared/ran")
    getattr(engine.client, change)(target["id"])

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded and said in seen.message, seen
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["", "common"])
async def test_the_beginning_of_several_ids_means_none_of_them(engine, part) -> None:
    ids = sorted(engine.container() for _ in range(17))  # so that two begin with the same digit
    part = part and next(one[0] for one, other in pairwise(ids) if one[0] == other[0])
    driver = engine.driver()
    call = make_call(
        {"exec": ["true"], "in": {"ids": [part], "labels": {"reconciler.test": engine.mark}}, "on": ["here"]}
    )

    seen = await driver.start(call, None)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert f"the id {part!r} is the beginning of" in seen.message


@pytest.fixture
def bare(engine):
    """An image with a program and nothing else."""
    box = engine.container()
    stream, _ = engine.client.get_archive(box, "/bin/busybox")
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as packed:
        binary = packed.extractfile("busybox").read()
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as archive:
        for name in ("sleep", "true"):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(binary), 0o755
            archive.addfile(member, io.BytesIO(binary))
    name = f"reconciler.test/bare:{engine.mark}"
    engine.client.import_image_from_data(image.getvalue(), repository=name.split(":")[0], tag=engine.mark)
    yield name
    engine.clear()
    engine.client.remove_image(name, force=True)


async def test_without_a_shell_a_command_runs_and_a_cancel_says_which_process_may_still_run(engine, bare) -> None:
    driver = engine.driver()
    target = engine.target(engine.container("/sleep", "600", image=bare))
    quick, slow = call_in(target, "/true"), replace(call_in(target, "/sleep", "97"), name="rc-slow", key="u1/s/-/1")

    done = await settle(driver, quick, await begin(driver, quick))
    begun = await begin(driver, slow)
    seen = await driver.cancel(slow, begun.handle)

    assert isinstance(done, Ended) and done.succeeded
    assert isinstance(begun, Running) and isinstance(seen, Unknown)
    number = int(seen.evidence.split()[1])
    assert "may still run in" in seen.evidence and "no shell" in seen.evidence
    assert Path(f"/proc/{number}/cmdline").read_bytes() == b"/sleep\x0097\0"


def test_a_revoked_task_in_a_container_without_a_shell_says_what_may_still_run(engine, bare, tmp_path) -> None:
    engine.container("/sleep", "600", image=bare, labels={"app": engine.mark})
    block = {"exec": ["/sleep", "97"], "in": {"labels": {"app": engine.mark}}, "grace": 0}
    ask = job("ask", f"container: {json.dumps(block)}")
    folder = definitions_in(tmp_path, ask, task("one", "job: ask"))

    with Controller(f"dir:{folder}", tmp_path / "state") as controller:
        controller.until(lambda: runs(tmp_path / "state", "one", "job.0"))
        definitions_in(tmp_path, ask, task("one", "job: ask", "control: {state: revoked, reason: CHG-1}"))
        done = controller.reaches("one", "revoked", seconds=30)

    attempt = done.attempts["job.0"]
    assert attempt.phase is AttemptPhase.LOST
    assert "may still run in" in attempt.message


def test_a_selector_may_mean_a_hundred_containers(engine, tmp_path) -> None:
    ids = {engine.container(labels={"app": engine.mark}) for _ in range(100)}
    block = {"exec": ["hostname"], "in": {"labels": {"app": engine.mark}}}
    folder = definitions_in(
        tmp_path, job("ask", f"container: {json.dumps(block)}", "parallelism: 100"), task("one", "job: ask")
    )

    ended = run_until_idle(f"dir:{folder}", tmp_path / "state", seconds=120)

    done = found(tmp_path / "state", "one")
    assert ended.process.returncode == 0, ended.text
    assert done is not None and isinstance(done.record.outputs, dict)
    results: Any = done.record.outputs["results"]
    assert {each["id"] for each in results} == ids
    assert all(each["stdout"] == f"{each['id'][:12]}\n" for each in results)


def test_two_controllers_at_one_engine_leave_each_others_work_alone(engine, tmp_path) -> None:
    engine.container(labels={"app": engine.mark}, Binds=[f"{tmp_path}:/shared"])
    inside = {"exec": ["sh", "-c", "echo ran >>/shared/inside; sleep 3"], "in": {"labels": {"app": engine.mark}}}
    outside = {"run": {"image": IMAGE, "command": ["sleep", "4"]}}
    folder = definitions_in(
        tmp_path,
        job("in", f"container: {json.dumps(inside)}"),
        job("out", f"container: {json.dumps(outside)}"),
        task("in", "job: in"),
        task("out", "job: out"),
    )
    with Controller(f"dir:{folder}", tmp_path / "one") as first:
        first.until(lambda: runs(tmp_path / "one", "out", "job"))
        second = run_until_idle(f"dir:{folder}", tmp_path / "two")
        first.reaches("out", "finished", seconds=30)
        first.reaches("in", "finished", seconds=30)
        engine.adopt(tmp_path / "one")

    other = found(tmp_path / "two", "out")
    assert second.process.returncode == 1 and other is not None
    assert other.attempts["job"].message.startswith("ForeignObject: ")
    both = found(tmp_path / "two", "in")
    assert both is not None and both.record.phase.value == "finished"
    assert (tmp_path / "inside").read_text() == "ran\n" * 2
    assert engine.names() == []


def runs(state: Path, name: str, path: str) -> bool:
    task_ = found(state, name)
    return task_ is not None and path in task_.attempts and task_.attempts[path].phase is AttemptPhase.STARTED
