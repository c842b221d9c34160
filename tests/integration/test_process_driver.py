"""The process driver with real processes: what survives, what is bounded, and what is never done twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.drivers import wrapper
from reconciler.drivers.process import ProcessDriver
from reconciler.drivers.process_folder import forget
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from tests.calls import KEY, Log, answered, make_call


@pytest.fixture
async def driver(tmp_path):
    made = ProcessDriver(tmp_path / "state" / "processes")
    yield made
    await made.close()


def shell(script: str, **block):
    return {"command": ["sh", "-c", script], **block}


async def finish(driver: ProcessDriver, call) -> Observation:
    seen = await driver.start(call, None)
    async with asyncio.timeout(20):
        while isinstance(seen, Running):
            await asyncio.sleep(0.02)
            seen = await driver.observe(call, None)
    return seen


def folder_of(tmp_path: Path, call) -> Path:
    return tmp_path / "state" / "processes" / call.name / str(call.number)


async def test_the_result_has_exit_code_output_and_json(driver) -> None:
    ended = await finish(driver, make_call(shell("echo '{\"a\": [1]}'; echo warn >&2")))

    assert isinstance(ended, Ended) and ended.succeeded and ended.cleanup
    assert ended.result == {"exitCode": 0, "stdout": '{"a": [1]}\n', "stderr": "warn\n", "json": {"a": [1]}}


async def test_words_reach_the_command_as_they_are_and_no_shell_sees_them(driver) -> None:
    words = ['"; rm -rf /; $(id)', "a b", "*", "", "上线", True, 5]

    ended = await finish(
        driver,
        make_call({"command": [sys.executable, "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words]}),
    )

    assert isinstance(ended, Ended)
    assert answered(ended)["json"] == ['"; rm -rf /; $(id)', "a b", "*", "", "上线", "true", "5"]


async def test_the_environment_is_bare(driver, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LEAK", "1")
    call = make_call(
        {"command": [sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))"], "env": {"A": 1}}
    )

    ended = await finish(driver, call)

    assert isinstance(ended, Ended)
    seen = answered(ended)["json"]
    assert seen.pop("PATH") == os.environ["PATH"]
    assert seen.pop("HOME") == str(folder_of(tmp_path, call) / "home")
    seen.pop("LC_CTYPE", None)
    assert seen == {"LANG": "C.UTF-8", "A": "1", "RECONCILER_ATTEMPT_KEY": KEY}


async def test_stdin_is_given_and_a_command_that_does_not_read_it_is_fine(driver) -> None:
    read = await finish(driver, make_call({"command": ["wc", "-c"], "stdin": "x" * 300_000}))
    unread = await finish(driver, make_call({"command": ["true"], "stdin": "x" * 300_000}, key="u1/other/-/1"))

    assert isinstance(read, Ended) and answered(read)["stdout"].strip() == "300000"
    assert isinstance(unread, Ended) and unread.succeeded


@pytest.mark.parametrize(
    ("block", "code", "text"),
    [
        ({"command": ["no-such-command"]}, 127, "no-such-command"),
        ({"command": ["/"]}, 126, "denied"),
        ({"command": ["true"], "workdir": "/no/such/folder"}, 127, "/no/such/folder"),
    ],
)
async def test_a_command_that_cannot_be_run_fails_with_the_codes_of_a_shell(driver, block, code, text) -> None:
    ended = await finish(driver, make_call(block))

    assert isinstance(ended, Ended) and not ended.succeeded
    assert ended.code == code
    assert text in ended.message


@pytest.mark.parametrize(
    "block", [{"command": []}, {"command": ["a\0b"]}, {"command": ["a"], "env": {"A=B": "c"}}, {"command": ["\ud800"]}]
)
async def test_a_block_that_cannot_be_run_starts_nothing(driver, tmp_path, block) -> None:
    call = make_call(block)

    ended = await driver.start(call, None)

    assert isinstance(ended, Ended) and not ended.succeeded and not ended.repeatable
    assert not folder_of(tmp_path, call).exists()


async def test_a_signal_is_told_apart_from_an_exit(driver) -> None:
    ended = await finish(driver, make_call(shell("kill -SEGV $$")))

    assert isinstance(ended, Ended) and ended.code == 139
    assert "SIGSEGV" in ended.message


async def test_endless_output_is_bounded_on_disk_and_in_the_log(tmp_path) -> None:
    driver = ProcessDriver(tmp_path / "state" / "processes", log_limit=1 << 20)
    log = Log()
    call = make_call(shell("head -c 30000000 /dev/zero | tr '\\0' x; echo the-end"), log=log)

    ended = await finish(driver, call)

    assert isinstance(ended, Ended) and ended.succeeded
    assert len(json.dumps(ended.result)) <= 64 << 10
    assert sum(path.stat().st_size for path in folder_of(tmp_path, call).rglob("*") if path.is_file()) < 2 << 20
    assert len(log.text()) < 2 << 20
    assert "bytes of stdout dropped" in log.text("driver")
    assert log.text("stdout").endswith("the-end\n")
    await driver.close()


async def test_json_that_is_too_large_fails_only_where_the_result_is_used(driver) -> None:
    script = "printf '\"%s\"' \"$(head -c 100000 /dev/zero | tr '\\0' x)\" | sed 's/^/[/; s/$/]/'"

    used = await finish(driver, make_call(shell(script), uses_result=True))
    unused = await finish(driver, make_call(shell(script), key="u1/other/-/1"))

    assert isinstance(used, Ended) and not used.succeeded and used.message.startswith("OutputTooLarge")
    assert isinstance(unused, Ended) and unused.succeeded


async def test_output_is_in_the_log_while_the_command_runs_and_never_twice(tmp_path) -> None:
    log, end = Log(), tmp_path / "end"
    call = make_call(shell(f"echo one; while [ ! -e {end} ]; do sleep 0.01; done; echo two"), log=log)
    first = ProcessDriver(tmp_path / "state" / "processes")
    await first.start(call, None)
    async with asyncio.timeout(10):
        while "one" not in log.text():
            await first.observe(call, None)
    await first.close()

    end.touch()
    second = ProcessDriver(tmp_path / "state" / "processes")
    ended = await finish(second, call)
    await second.observe(call, None)

    assert isinstance(ended, Ended) and ended.succeeded
    assert log.text("stdout") == "one\ntwo\n"
    await second.close()


async def test_a_secret_is_on_no_disk_and_in_no_log_in_any_form(driver, tmp_path) -> None:
    secret, log = "c4nary/s3cret value", Log()
    script = (
        'printf %s "$TOKEN" | head -c 9; sleep 0.05; printf %s "$TOKEN" | tail -c +10; echo;'
        'printf %s "$TOKEN" | base64; printf "user:%s" "$TOKEN" | base64; cat; exit 1'
    )
    call = make_call(
        shell(script, env={"TOKEN": "***"}, stdin="***"),
        secrets={"a/b": secret},
        references={"/env/TOKEN": "a/b", "/stdin": "a/b"},
        log=log,
    )

    ended = await finish(driver, call)

    disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode(errors="replace")
    for kept in (disk, log.text(), repr(ended)):
        assert (
            "c4nary" not in kept
            and "s3cret" not in kept
            and "YzRuYXJ5" not in kept
            and "pjNG5hcnkvczNjcmV0" not in kept
        )
    assert "***" in log.text("stdout")


async def test_the_command_outlives_a_controller_that_is_killed(tmp_path) -> None:
    state, end = tmp_path / "state" / "processes", tmp_path / "end"
    call = make_call(shell(f"echo run >> {tmp_path}/count; while [ ! -e {end} ]; do sleep 0.01; done; exit 7"))
    program = f"""
import asyncio
from pathlib import Path
from tests.calls import KEY, make_call
from reconciler.drivers.process import ProcessDriver
from reconciler.drivers.process_folder import forget
async def main():
    driver = ProcessDriver(Path({str(state)!r}))
    print(await driver.start(make_call({dict(call.request)!r}), None), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    controller = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert controller.stdout is not None and b"Running" in controller.stdout.readline()

    controller.kill()
    controller.wait()
    controller.stdout.close()
    driver = ProcessDriver(state)
    adopted = await driver.start(call, None)
    end.touch()
    ended = await finish(driver, call)

    assert isinstance(adopted, Running)
    assert isinstance(ended, Ended) and ended.code == 7
    assert (tmp_path / "count").read_text() == "run\n"
    await driver.close()


async def test_two_starts_at_the_same_moment_run_the_command_one_time(tmp_path) -> None:
    call = make_call(shell(f"echo run >> {tmp_path}/count"))
    drivers = [ProcessDriver(tmp_path / "state" / "processes") for _ in range(4)]

    await asyncio.gather(*(finish(each, call) for each in drivers))

    assert (tmp_path / "count").read_text() == "run\n"
    for each in drivers:
        await each.close()


async def test_a_controller_that_dies_before_the_order_is_written_has_started_nothing(driver, tmp_path) -> None:
    call = make_call(shell(f"echo run >> {tmp_path}/count"))
    folder = folder_of(tmp_path, call)
    (folder / "home").mkdir(parents=True)
    orphan = subprocess.run(
        [sys.executable, "-I", "-S", wrapper.__file__, str(folder)],
        input=b'{"command": ["tr',
        capture_output=True,
        check=False,
    )

    seen = await driver.observe(call, None)
    ended = await finish(driver, call)

    assert orphan.returncode != 0
    assert isinstance(seen, NotStarted)
    assert isinstance(ended, Ended) and ended.succeeded
    assert (tmp_path / "count").read_text() == "run\n"


async def test_a_wrapper_that_was_killed_leaves_an_unknown_outcome(driver, tmp_path) -> None:
    call = make_call(shell("sleep 30"))
    begun = await driver.start(call, None)
    assert isinstance(begun, Running)

    assert isinstance(begun.handle, dict)
    pid = begun.handle["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    seen = await driver.observe(call, None)
    again = await driver.start(call, None)

    assert isinstance(seen, Unknown) and "still runs" in seen.evidence
    assert isinstance(again, Unknown)
    after = await driver.cancel(call, None)
    assert isinstance(after, Unknown)
    assert not running(call.key)


async def test_a_process_of_an_earlier_boot_is_unknown(driver, tmp_path) -> None:
    call = make_call(shell("true"))
    folder = folder_of(tmp_path, call)
    folder.mkdir(parents=True)
    (folder / "started").write_text(json.dumps({"pid": os.getpid(), "start": 1, "boot": "another"}))

    seen = await driver.observe(call, None)

    assert isinstance(seen, Unknown) and "started anew" in seen.evidence


async def test_a_number_that_was_given_to_another_process_is_not_taken_for_ours(driver, tmp_path) -> None:
    call = make_call(shell("true"))
    folder = folder_of(tmp_path, call)
    folder.mkdir(parents=True)
    own = {"pid": os.getpid(), "start": 1, "boot": wrapper.boot_id()}
    for name in ("started", "child"):
        (folder / name).write_text(json.dumps(own))

    seen = await driver.cancel(call, None)

    assert isinstance(seen, Unknown)  # and this test still runs


async def test_cancel_gives_time_to_end_in_order(driver) -> None:
    call = make_call(shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done", grace=5))
    await driver.start(call, None)
    await asyncio.sleep(0.2)

    ended = await driver.cancel(call, None)

    assert isinstance(ended, Ended) and ended.cancelled and ended.code == 3
    assert "bye" in answered(ended)["stdout"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_clock_that_jumps_takes_nobody_the_time_to_end_in_order(driver, monkeypatch, jump) -> None:
    patient = shell("trap 'sleep 0.3; exit 3' TERM; echo ready; while :; do sleep 0.02; done", grace=5)
    deaf = shell("trap '' TERM; while :; do sleep 0.02; done", grace=0.5)
    calls = [make_call(patient), make_call(deaf, key="u1/step2/-/1")]
    for call in calls:
        await driver.start(call, None)
    await asyncio.sleep(0.2)
    clock, began = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: clock() + (jump if time.monotonic() - began > 0.1 else 0))

    async with asyncio.timeout(10):
        ends = await asyncio.gather(*(driver.cancel(call, None) for call in calls))

    assert [end.code for end in ends if isinstance(end, Ended)] == [3, 137]


async def test_cancel_kills_what_ignores_it_and_what_left_the_group(driver) -> None:
    call = make_call(shell("setsid sleep 50 & trap '' TERM; while :; do sleep 0.02; done", grace=0.2))
    await driver.start(call, None)
    await asyncio.sleep(0.2)

    ended = await driver.cancel(call, None)

    assert isinstance(ended, Ended) and ended.cancelled and ended.code == 137
    assert not running(call.key)


async def test_what_was_cancelled_before_it_started_never_starts(driver, tmp_path) -> None:
    call = make_call(shell(f"echo run >> {tmp_path}/count"))

    cancelled = await driver.cancel(call, None)
    started = await driver.start(call, None)

    assert isinstance(cancelled, Ended) and cancelled.cancelled
    assert isinstance(started, Ended) and started.cancelled
    assert not (tmp_path / "count").exists()


async def test_each_poll_of_an_attempt_runs_the_command_anew(driver, tmp_path) -> None:
    calls = [
        make_call(shell(f"echo run >> {tmp_path}/count; wc -l < {tmp_path}/count"), number=number)
        for number in (1, 2, 3)
    ]

    ended = [await finish(driver, call) for call in calls]
    await driver.clean(calls[-1], None)

    assert [answered(each)["json"] for each in ended if isinstance(each, Ended)] == [1, 2, 3]
    assert [each.suffix for each in (tmp_path / "state" / "processes").iterdir()] == [".cleaned"]


async def test_what_was_cleaned_up_is_not_taken_for_what_never_started(driver, tmp_path) -> None:
    """An older database asks about it as if it were new."""
    call = make_call(shell("echo run >> " + str(tmp_path / "count")))
    await finish(driver, call)
    await driver.clean(call, None)

    asked, started = await driver.observe(call, None), await driver.start(call, None)

    assert isinstance(asked, Unknown) and isinstance(started, Unknown)
    assert (tmp_path / "count").read_text() == "run\n"
    forget(tmp_path / "state" / "processes", time.time() - 3600)
    assert isinstance(await driver.observe(call, None), Unknown)
    forget(tmp_path / "state" / "processes", time.time() + 3600)
    assert isinstance(await driver.observe(call, None), NotStarted)


async def test_clean_leaves_alone_what_still_runs(driver, tmp_path) -> None:
    call = make_call(shell("sleep 30", grace=0.2))
    await driver.start(call, None)

    await driver.clean(call, None)

    assert isinstance(await driver.observe(call, None), Running)
    await driver.cancel(call, None)


def running(key: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"RECONCILER_ATTEMPT_KEY={key}".encode() in (
                entry / "environ"
            ).read_bytes().split(b"\0"):
                found.append(entry.name)
        except OSError:
            continue
    return found
