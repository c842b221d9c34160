"""New containers, by the driver alone: what it says of everything that can become of one."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from reconciler.drivers.container import ContainerDriver
from reconciler.drivers.engine import Address, Engine
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from tests.calls import Log, answered, make_call
from tests.engines import IMAGE


def call_for(engine, *words: str, log: Log | None = None, **run: Any) -> Call:
    block = {"run": {"image": IMAGE, "command": list(words), "pull": "never", **run}, "on": ["here"], "grace": 0.5}
    return make_call(block, key=f"{engine.mark}/step1/-/1", log=log)


async def begin(driver, call: Call) -> Observation:
    return await driver.start(call, await driver.prepare(call))


async def settle(driver, call: Call, seen: Observation, seconds: float = 40.0) -> Observation:
    async with asyncio.timeout(seconds):
        while isinstance(seen, Running):
            await asyncio.sleep(min(seen.look_again, 0.2))
            seen = await driver.observe(call, seen.handle)
    return seen


async def test_it_is_made_as_the_block_says(engine) -> None:
    driver, folder = engine.driver(), "/tmp"
    call = call_for(
        engine,
        "true",
        env={"A": "b c"},
        labels={"team": "x"},
        mounts=[{"source": folder, "target": "/seen"}],
        network="none",
        resources={"cpu": "500m", "memory": "64Mi"},
        user="1000",
        workdir="/bin",
    )

    handle = await driver.prepare(call)

    made = engine.client.inspect_container(handle["container"])
    assert made["Name"] == f"/{call.name}"
    assert made["State"]["Status"] == "created"
    config, host = made["Config"], made["HostConfig"]
    assert "A=b c" in config["Env"] and config["User"] == "1000" and config["WorkingDir"] == "/bin"
    assert config["Labels"]["team"] == "x" and config["Labels"]["reconciler.dev/controller"] == engine.owner
    assert host["Binds"] == [f"{folder}:/seen:ro"] and host["NetworkMode"] == "none"
    assert (host["NanoCpus"], host["Memory"]) == (500_000_000, 64 << 20)
    await driver.close()


async def test_streams_and_code_come_back_and_the_container_goes(engine) -> None:
    driver, log = engine.driver(), Log()
    call = call_for(engine, "sh", "-c", r"printf 'a\377b\n'; echo err >&2; exit 7", log=log)

    ended = await settle(driver, call, await begin(driver, call))
    kept = engine.names()
    await driver.clean(call, None)

    assert isinstance(ended, Ended) and ended.code == 7 and ended.cleanup
    assert answered(ended)["stdout"] == "a\ufffdb\n" and ended.message == "exit code 7: err"
    assert (log.bytes("stdout"), log.bytes("stderr")) == (b"a\xffb\n", b"err\n")
    assert kept == [call.name] and engine.names() == []
    await driver.close()


async def test_a_secret_in_the_output_is_stars_in_log_and_result(engine) -> None:
    secret, log, driver = "c4nary-s3cret", Log(), engine.driver()
    script = 'printf "%s" "$1" | head -c 6; sleep 0.3; printf "%s\n" "$1" | tail -c +7'
    request = dict(call_for(engine, "sh", "-c", script, "x", "***").request)
    places = {"/run/command/4": "app/token"}
    call = make_call(request, key=f"{engine.mark}/step1/-/1", log=log, references=places, secrets={"app/token": secret})

    ended = await settle(driver, call, await begin(driver, call))

    assert isinstance(ended, Ended) and ended.succeeded
    assert secret not in log.text() + repr(ended) and "***" in log.text("stdout")
    await driver.close()


async def test_output_is_in_the_log_while_it_runs_and_a_new_controller_goes_on(engine) -> None:
    first, log = engine.driver(), Log()
    script = "i=0; while [ $i -lt 6 ]; do echo line $i; i=$((i+1)); sleep 0.5; done"
    call = call_for(engine, "sh", "-c", script, log=log)
    begun = await begin(first, call)
    looked = await first.observe(call, begun.handle)
    early = log.text("stdout")
    await first.close()

    second = engine.driver()
    ended = await settle(second, call, await second.observe(call, looked.handle))

    whole = "".join(f"line {each}\n" for each in range(6))
    assert early.startswith("line 0\n") and "line 5" not in early
    assert isinstance(ended, Ended) and answered(ended)["stdout"] == whole
    assert log.text("stdout") == whole
    await second.close()


async def test_it_is_started_one_time_however_often_it_is_asked_for(engine, tmp_path) -> None:
    mounts = [{"source": str(tmp_path), "target": "/shared", "readOnly": False}]
    drivers = [engine.driver() for _ in range(4)]
    call = call_for(engine, "sh", "-c", "echo run >>/shared/count; sleep 0.3", mounts=mounts)

    await asyncio.gather(*(driver.start(call, None) for driver in drivers))
    ended = await settle(drivers[0], call, await drivers[0].observe(call, None))
    again = await drivers[1].start(call, None)

    assert isinstance(ended, Ended) and ended.succeeded
    assert isinstance(again, Ended) and again.succeeded
    assert (tmp_path / "count").read_text() == "run\n"
    for driver in drivers:
        await driver.close()


async def test_a_container_of_a_stranger_with_our_name_is_left_alone(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "true")
    config = {"Image": IMAGE, "Cmd": ["sleep", "600"], "Labels": {"reconciler.test": engine.mark}}
    stranger = engine.client.create_container_from_config(config, call.name)["Id"]
    engine.client.start(stranger)

    seen = await begin(driver, call)
    cancelled = await driver.cancel(call, None)
    await driver.clean(call, None)

    assert isinstance(seen, Ended) and seen.message.startswith("ForeignObject: ")
    assert isinstance(cancelled, Ended) and not cancelled.cancelled
    assert engine.client.inspect_container(stranger)["State"]["Running"]
    await driver.close()


async def test_another_request_under_the_same_key_is_not_taken_for_this_one(engine) -> None:
    driver = engine.driver()
    await driver.prepare(call_for(engine, "true"))

    seen = await driver.observe(call_for(engine, "false"), None)

    assert isinstance(seen, Ended) and "spec-hash" in seen.message
    await driver.close()


async def test_cancel_stops_it_within_its_grace(engine) -> None:
    driver = engine.driver()
    call = call_for(engine, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    begun = await begin(driver, call)

    began = time.monotonic()
    seen = await driver.cancel(call, begun.handle)

    assert isinstance(seen, Ended) and seen.cancelled and seen.code == 137
    assert time.monotonic() - began < 6
    await driver.close()


async def test_what_was_made_and_is_cancelled_never_starts(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "true")
    handle = await driver.prepare(call)

    seen = await driver.cancel(call, handle)

    assert isinstance(seen, NotStarted)
    assert engine.names() == []
    await driver.close()


async def test_what_was_made_at_an_engine_that_is_away_when_it_should_start_is_left_to_be_removed(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "true")
    away = ContainerDriver({"here": Engine("here", Address("unix:///nowhere/docker.sock"))}, engine.owner)

    seen = await away.start(call, await driver.prepare(call))
    await driver.clean(call, seen.handle)

    assert isinstance(seen, Ended) and not seen.succeeded and seen.cleanup
    assert "made and not started" in seen.message
    assert engine.names() == []
    await away.close()
    await driver.close()


async def test_one_that_somebody_removed_has_an_unknown_outcome(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "sleep", "600")
    begun = await begin(driver, call)
    engine.client.remove_container(call.name, force=True)

    seen = await settle(driver, call, begun)

    assert isinstance(seen, Unknown) and "is gone" in seen.evidence
    await driver.close()


async def test_one_that_somebody_stopped_says_so(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "sleep", "600")
    begun = await begin(driver, call)
    engine.client.stop(call.name, timeout=0)

    seen = await settle(driver, call, begun)

    assert isinstance(seen, Ended) and not seen.succeeded and seen.code == 137
    assert "it was killed" in seen.message
    await driver.close()


async def test_a_command_that_is_not_in_the_image_is_a_failure_with_the_engines_word(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "/nosuch")

    seen = await settle(driver, call, await begin(driver, call))

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "/nosuch" in seen.message
    await driver.clean(call, None)
    assert engine.names() == []
    await driver.close()


@pytest.mark.parametrize("pull", ["never", "missing", "always"])
async def test_an_image_that_is_nowhere_is_named(engine, pull) -> None:
    driver = engine.driver()
    call = replace(call_for(engine, "true", image="registry.invalid/nosuch:1", pull=pull), remaining=20.0)

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "registry.invalid" in seen.message
    await driver.close()


async def test_a_later_call_of_an_attempt_has_a_container_of_its_own_and_all_go(engine) -> None:
    driver, call = engine.driver(), call_for(engine, "true")
    for number in (1, 2, 3):
        await settle(driver, call, await begin(driver, replace(call, number=number)))

    await driver.clean(replace(call, number=3), None)

    assert engine.names() == []
    await driver.close()


@pytest.mark.parametrize("run", [{"resources": {"memory": "much"}}, {"env": {"A=B": "x"}}, {"command": ["nul\0"]}])
async def test_a_block_that_cannot_be_made_makes_nothing(engine, run) -> None:
    driver = engine.driver()
    call = call_for(engine, "true", **run)

    seen = await begin(driver, call)

    assert isinstance(seen, Ended) and not seen.succeeded and not seen.repeatable
    assert engine.names() == []
    await driver.close()
