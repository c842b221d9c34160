"""Commands in running containers, by the driver alone: what it says of everything that can become of one."""

import asyncio
import hashlib
import time
from dataclasses import replace
from typing import Any

import pytest

from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from tests.calls import Log, answered, make_call
from tests.engines import IMAGE

PAUSE = "local/pause:1"


def call_in(target: dict[str, Any], *words: str, log: Log | None = None, secrets: Any = None, **block: Any) -> Call:
    references = {f"/args/{index}": f"app/{index}" for index, _ in enumerate(secrets or [])}
    values = {f"app/{index}": value for index, value in enumerate(secrets or [])}
    block |= {"args": ["***"] * len(references)} if references else {}
    request = {"exec": list(words), "in": {"ids": [target["id"]]}, "target": target, "grace": 0.5, **block}
    return make_call(request, log=log, references=references, secrets=values)


async def begin(driver, call: Call) -> Observation:
    return await driver.start(call, await driver.prepare(call))


async def settle(driver, call: Call, seen: Observation, seconds: float = 30.0) -> Observation:
    async with asyncio.timeout(seconds):
        while isinstance(seen, Running):
            await asyncio.sleep(min(seen.look_again, 0.2))
            seen = await driver.observe(call, seen.handle)
    return seen


async def shows(driver, call: Call, seen: Observation, log: Log) -> Observation:
    """Looked at until its log shows something."""
    async with asyncio.timeout(10):
        while isinstance(seen, Running) and not log.text("stdout"):
            await asyncio.sleep(0.2)
            seen = await driver.observe(call, seen.handle)
    return seen


async def test_both_streams_code_and_message_come_back(engine) -> None:
    driver, log = engine.driver(), Log()
    call = call_in(engine.target(), "sh", "-c", "echo out; echo err >&2; exit 7", log=log)

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and not seen.succeeded
    assert seen.code == 7 and seen.message.endswith(": err")
    assert (answered(seen)["stdout"], answered(seen)["stderr"], answered(seen)["exitCode"]) == ("out\n", "err\n", 7)
    assert (log.text("stdout"), log.text("stderr")) == ("out\n", "err\n")
    await driver.close()


async def test_words_reach_the_command_as_they_are_and_no_shell_sees_them(engine) -> None:
    hostile = ["$(id)", "`id`", "a b", "", "-n", "\n", "*", '"', "'", "; exit 9", "上线", "\x1b]52;c;eA==\x07"]
    driver = engine.driver()
    call = call_in(engine.target(), "sh", "-c", 'for each in "$@"; do printf "%s\\0" "$each"; done', "x", *hostile)

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and seen.succeeded
    assert answered(seen)["stdout"].split("\0")[:-1] == hostile
    await driver.close()


async def test_what_is_no_utf_8_is_kept_in_the_log_and_replaced_in_the_result(engine) -> None:
    driver, log = engine.driver(), Log()
    call = call_in(engine.target(), "printf", r"a\377b", log=log)

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and answered(seen)["stdout"] == "a\ufffdb"
    assert log.bytes("stdout") == b"a\xffb"
    await driver.close()


async def test_user_folder_and_environment_are_those_of_the_block(engine) -> None:
    driver = engine.driver()
    script = 'id -u; pwd; echo "$A"; umask'
    call = call_in(engine.target(), "sh", "-c", script, user="1000", workdir="/bin", env={"A": "b c"})

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and answered(seen)["stdout"] == "1000\n/bin\nb c\n0022\n"
    await driver.close()


async def test_a_command_that_is_not_there_fails_with_the_code_of_a_shell(engine) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "nosuch")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and not seen.succeeded and seen.code == 127
    assert "nosuch" in seen.message
    await driver.close()


async def test_privileged_is_in_the_request_and_its_refusal_can_be_read(engine) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "true", privileged=True)

    handle = await driver.prepare(call)
    seen = await settle(driver, call, await driver.start(call, handle))

    assert engine.client.exec_inspect(handle["exec"])["ProcessConfig"]["privileged"] is True
    assert isinstance(seen, Ended) and not seen.succeeded
    assert "unable to apply caps" in seen.message
    await driver.close()


async def test_output_is_in_the_log_while_it_runs_and_never_twice(engine) -> None:
    driver, log = engine.driver(), Log()
    script = "i=0; while [ $i -lt 9 ]; do echo line $i; i=$((i+1)); sleep 0.7; done"
    call = call_in(engine.target(), "sh", "-c", script, log=log)

    looked = await shows(driver, call, await begin(driver, call), log)
    early = log.text("stdout")
    ended = await settle(driver, call, looked)

    assert isinstance(looked, Running)
    assert early.startswith("line 0\n") and "line 8" not in early
    assert isinstance(ended, Ended) and log.text("stdout") == "".join(f"line {each}\n" for each in range(9))
    await driver.close()


async def test_a_new_controller_goes_on_with_the_log_and_knows_all_of_the_output(engine) -> None:
    first, log = engine.driver(), Log()
    call = call_in(engine.target(), "sh", "-c", "echo early; sleep 5; echo late", log=log)
    looked = await shows(first, call, await begin(first, call), log)
    await first.close()

    second = engine.driver()
    ended = await settle(second, call, await second.observe(call, looked.handle))

    assert isinstance(ended, Ended) and answered(ended)["stdout"] == "early\nlate\n"
    assert log.text("stdout") == "early\nlate\n"
    await second.close()


async def test_much_output_is_bounded_and_its_beginning_and_end_are_kept(engine) -> None:
    driver, log = engine.driver(log_limit=1 << 20), Log()
    script = "echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo last"
    call = call_in(engine.target(), "sh", "-c", script, log=log)

    ended = await settle(driver, call, await begin(driver, call))

    assert isinstance(ended, Ended) and ended.succeeded
    said = log.text("stdout")
    assert said.startswith("first\nxxx") and said.endswith("xxx\nlast\n")
    assert len(said) < (1 << 20)
    assert "was dropped, but for its end" in log.text("driver")
    await driver.close()


async def test_no_secret_is_in_the_engines_books_or_in_the_log_in_any_form(engine) -> None:
    secret = "c4nary s3cret\n'\"$(x)"
    driver, log = engine.driver(), Log()
    script = 'printf "%s" "$1" | head -c 5; sleep 1.5; printf "%s" "$1" | tail -c +6; printf "%s" "$1" | base64'
    call = call_in(engine.target(), "sh", "-c", script, "x", log=log, secrets=[secret, "other"])

    handle = await driver.prepare(call)
    seen = await driver.start(call, handle)
    ended = await settle(driver, call, seen)

    assert "c4nary" not in repr(engine.client.exec_inspect(handle["exec"]))
    assert isinstance(ended, Ended) and ended.succeeded, ended
    for text in (log.text(), repr(ended)):
        assert "c4nary" not in text and "Y4NhcnkgczNjcmV0" not in text and "YzRuYXJ5" not in text
    assert "***" in log.text("stdout")
    await driver.close()


async def test_secret_words_and_stdin_reach_the_command_whole(engine) -> None:
    secret = "a\nb'\"\\ $(id)\t上 \n"
    driver = engine.driver()
    script = 'printf %s "$2" | wc -c; printf %s "$2" | md5sum; cat | md5sum; echo $#'
    call = call_in(engine.target(), "sh", "-c", script, "x", "plain", secrets=[secret], stdin="data\nof stdin")

    ended = await settle(driver, call, await begin(driver, call))

    assert isinstance(ended, Ended) and ended.succeeded, ended
    count, word, given, words = answered(ended)["stdout"].splitlines()
    assert int(count) == len(secret.encode())
    assert word.split()[0] == hashlib.md5(secret.encode()).hexdigest()
    assert given.split()[0] == hashlib.md5(b"data\nof stdin").hexdigest()
    assert words == "2"
    await driver.close()


async def test_cancel_ends_the_whole_tree_of_processes(engine) -> None:
    driver = engine.driver()
    script = "trap '' TERM; (trap '' TERM; sleep 600)& setsid sleep 601 & sleep 602; sleep 603"
    call = call_in(engine.target(), "sh", "-c", script)
    begun = await begin(driver, call)

    began = time.monotonic()
    seen = await driver.cancel(call, begun.handle)

    assert isinstance(seen, Ended) and seen.cancelled and seen.code == 137
    assert time.monotonic() - began < 8
    assert len(engine.client.top(engine.target()["id"])["Processes"]) == 1
    await driver.close()


async def test_cancel_gives_time_to_end_in_order(engine) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "sh", "-c", "trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done", grace=10)
    begun = await begin(driver, call)

    seen = await driver.cancel(call, begun.handle)

    assert isinstance(seen, Ended) and seen.cancelled and seen.code == 3
    assert answered(seen)["stdout"] == "bye\n"
    await driver.close()


async def test_what_was_cancelled_before_it_started_never_starts(engine, tmp_path) -> None:
    driver = engine.driver()
    target = engine.target(binds=[f"{tmp_path}:/shared"])
    call = call_in(target, "touch", "/shared/ran")
    handle = await driver.prepare(call)

    seen = await driver.cancel(call, handle)
    late = await driver.start(call, handle)

    assert isinstance(seen, Ended) and seen.cancelled
    assert isinstance(late, Ended) and late.cancelled
    assert not (tmp_path / "ran").exists()
    await driver.close()


async def test_without_a_shell_it_says_which_process_may_still_run(engine) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(image=IMAGE, Binds=[]))
    call = call_in(target, "sleep", "5", receipt="never")
    begun = await begin(driver, call)

    seen = await driver.cancel(call, begun.handle)

    assert isinstance(begun, Running)
    assert isinstance(seen, Unknown)
    assert "process" in seen.evidence and "of its host may still run in" in seen.evidence
    await driver.close()


async def test_without_a_receipt_the_engines_word_counts_while_it_remembers(engine) -> None:
    first, log = engine.driver(), Log()
    call = call_in(engine.target(), "sh", "-c", "echo heard; sleep 2; exit 4", receipt="never", log=log)
    begun = await begin(first, call)
    await first.close()

    second = engine.driver()
    ended = await settle(second, call, await second.observe(call, begun.handle))

    assert isinstance(ended, Ended) and ended.code == 4
    assert log.text("stdout") == "heard\n"
    assert "its output is lost" in log.text("driver")
    await second.close()


async def test_a_receipt_that_is_demanded_and_cannot_be_kept_fails_before_anything_runs(engine) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(image=IMAGE, ReadonlyRootfs=True, ShmSize=0, Tmpfs={"/dev/shm": "ro"}))
    call = call_in(target, "true", receipt="always")

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "`receipt: always`" in seen.message
    await driver.close()


async def test_a_read_only_container_keeps_its_receipts_in_memory(engine) -> None:
    driver = engine.driver()
    target = engine.target(engine.container(image=IMAGE, ReadonlyRootfs=True))
    call = call_in(target, "echo", "here", receipt="always")

    handle = await driver.prepare(call)
    seen = await settle(driver, call, await driver.start(call, handle))

    assert handle["receipt"] and not handle["lasting"]
    assert isinstance(seen, Ended) and seen.succeeded and answered(seen)["stdout"] == "here\n"
    await driver.close()


async def test_a_target_that_has_gone_before_the_start_is_a_failure(engine) -> None:
    driver, target = engine.driver(), engine.target()
    engine.client.remove_container(target["id"], force=True)
    call = call_in(target, "true")

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert seen.message.startswith("TargetGone: ")
    await driver.close()


async def test_a_target_that_goes_while_the_command_runs_leaves_an_unknown_outcome(engine) -> None:
    driver, target = engine.driver(), engine.target()
    call = call_in(target, "sleep", "600")
    begun = await begin(driver, call)
    engine.client.remove_container(target["id"], force=True)

    seen = await settle(driver, call, begun)

    assert isinstance(seen, Unknown) and "is gone" in seen.evidence
    await driver.close()


async def test_a_target_that_stops_while_the_command_runs_ends_it(engine) -> None:
    driver, target = engine.driver(), engine.target()
    call = call_in(target, "sh", "-c", "echo started; sleep 600")
    begun = await begin(driver, call)
    engine.client.stop(target["id"], timeout=0)

    seen = await settle(driver, call, begun)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "ended with its container" in seen.message
    await driver.close()


async def test_a_target_that_was_started_anew_still_has_the_receipt(engine) -> None:
    driver, target = engine.driver(), engine.target()
    done, running = call_in(target, "echo", "done"), call_in(target, "sleep", "600")
    running = replace(running, name="rc-other", key="u1/other/-/1")
    first = await settle(driver, done, await begin(driver, done))
    begun = await begin(driver, running)
    engine.client.restart(target["id"], timeout=0)
    await driver.close()

    second = engine.driver()
    again = await second.observe(done, first.handle)
    ended = await settle(second, running, await second.observe(running, begun.handle))

    assert isinstance(again, Ended) and again.succeeded and answered(again)["stdout"] == "done\n"
    assert isinstance(ended, Ended) and "ended with its container" in ended.message
    await second.close()


async def test_a_paused_target_is_waited_for(engine) -> None:
    driver, target = engine.driver(), engine.target()
    call = call_in(target, "sh", "-c", "sleep 2; echo done")
    begun = await begin(driver, call)
    engine.client.pause(target["id"])
    seen = asyncio.ensure_future(settle(driver, call, begun))
    await asyncio.sleep(3)

    engine.client.unpause(target["id"])

    ended = await seen
    assert isinstance(ended, Ended) and ended.succeeded
    await driver.close()


async def test_a_command_that_leaves_children_behind_has_ended(engine) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "sh", "-c", "sleep 600 & echo started")

    began = time.monotonic()
    ended = await settle(driver, call, await begin(driver, call))

    assert isinstance(ended, Ended) and ended.succeeded and answered(ended)["stdout"] == "started\n"
    assert time.monotonic() - began < 6
    await driver.close()


async def test_two_starts_at_the_same_moment_run_the_command_one_time(engine, tmp_path) -> None:
    target = engine.target(binds=[f"{tmp_path}:/shared"])
    drivers = [engine.driver() for _ in range(4)]
    call = call_in(target, "sh", "-c", "echo run >>/shared/count; sleep 0.3")

    seen = await asyncio.gather(*(driver.start(call, None) for driver in drivers), return_exceptions=True)
    ended = await settle(drivers[0], call, await drivers[0].observe(call, None))

    assert isinstance(ended, Ended) and ended.succeeded, seen
    assert (tmp_path / "count").read_text() == "run\n"
    for driver in drivers:
        await driver.close()


async def test_another_controllers_receipt_is_not_taken_for_ours(engine) -> None:
    call = call_in(engine.target(), "echo", "mine")
    driver = engine.driver()
    await settle(driver, call, await begin(driver, call))
    await driver.close()
    engine.owner = "another" + engine.owner

    stranger = engine.driver()
    seen = await stranger.observe(call, None)

    assert isinstance(seen, NotStarted) and seen.unrecorded
    await stranger.close()


async def test_clean_takes_the_receipts_of_all_calls_away(engine) -> None:
    driver, target = engine.driver(), engine.target()
    call = call_in(target, "true")
    for number in (1, 2):
        each = replace(call, number=number)
        ended = await settle(driver, each, await begin(driver, each))

    await driver.clean(replace(call, number=2), ended.handle)

    listing = engine.run(target["id"], "ls", "-A", "/var/tmp", "/tmp", "/run", "/dev/shm")
    assert "rc-" not in listing
    await driver.close()


@pytest.mark.parametrize("block", [{"env": {"A=B": "x"}}, {"env": {"A": "nul\0"}}, {"receipt": "maybe"}])
async def test_a_block_that_cannot_be_run_starts_nothing(engine, block) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "true", **block)

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded and not seen.repeatable
    await driver.close()


async def test_a_start_that_the_engine_never_answers_is_followed_by_another_one_behind_the_same_fence(engine) -> None:
    driver = engine.driver()
    call = call_in(engine.target(), "echo", "ran", stdin="given")
    for _ in range(8):  # a connection that closes at once leaves some executions that answer to no start any more
        handle = await driver.prepare(call)
        engine.cut_start(handle["exec"])
        await asyncio.sleep(0.2)
        if engine.client.exec_inspect(handle["exec"])["ExitCode"] is None:
            break

    seen = await driver.start(replace(call, resend=True), handle)

    ended = await settle(driver, call, seen)
    assert isinstance(ended, Ended) and ended.succeeded and answered(ended)["stdout"] == "ran\n"
    await driver.close()
