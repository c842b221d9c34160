"""Engines that stop, are killed, stand still and come back, and several of them at once."""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest

from reconciler.drivers.protocol import Ended, NoNews, NotStarted, Observation, Running, Unknown
from state.phases import AttemptPhase, TaskPhase
from tests.calls import answered, make_call
from tests.controllers import Controller, found, job, run_until_idle, task
from tests.e2e.test_kills import allow, in_flight
from tests.engines import IMAGE, OwnEngine, TestEngine, definitions_in

ENDS = [signal.SIGTERM, signal.SIGKILL]
RESTARTS = int(os.environ.get("RESTARTS", "3"))
SEED = int(os.environ.get("SEED", "3"))
NAMES = [f"{kind}{each}" for kind in ("exec", "run") for each in range(3)]
WORK = 'echo "$0 $(hostname) began" >>/shared/count; sleep ${1:-1.2}; echo "$0 $(hostname) ended" >>/shared/count'

SPOKEN = f"{WORK}; echo said; echo more >&2"


@pytest.fixture(scope="module")
def own():
    made = OwnEngine("b")
    yield made
    made.down()


@pytest.fixture
def engine(own):
    own.up()
    made = TestEngine(own.address)
    yield made
    own.up()
    made.close()


def exec_call(engine, folder, name, seconds="1.2"):
    target = engine.target(binds=[f"{folder}:/shared"])
    block = {"exec": ["sh", "-c", WORK, name, seconds], "in": {"ids": [target["id"]]}, "target": target, "grace": 0.5}
    return make_call(block, key=f"{engine.mark}/{name}/-/1")


def run_call(engine, folder, name, seconds="1.2"):
    mounts = [{"source": str(folder), "target": "/shared", "readOnly": False}]
    run = {"image": IMAGE, "command": ["sh", "-c", WORK, name, seconds], "mounts": mounts}
    return make_call({"run": run, "on": ["here"], "grace": 0.5}, key=f"{engine.mark}/{name}/-/1")


async def settle(driver, call, seen: Observation, seconds: float = 40.0) -> Observation:
    handle = None
    async with asyncio.timeout(seconds):
        while isinstance(seen, Running | NoNews):
            await asyncio.sleep(min(seen.look_again, 0.2))
            handle = seen.handle if isinstance(seen, Running) else handle
            seen = await driver.observe(call, handle)
    return seen


def count(folder) -> Counter[str]:
    file = folder / "count"
    return Counter(line.split()[-1] for line in file.read_text().splitlines()) if file.exists() else Counter()


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("kind", [exec_call, run_call])
async def test_an_engine_that_ends_while_a_command_runs_ends_it_or_leaves_its_result(
    own, engine, tmp_path, kind, number
) -> None:
    driver, call = engine.driver(), kind(engine, tmp_path, "step")
    begun = await driver.start(call, await driver.prepare(call))
    await asyncio.to_thread(own.restart, number)

    seen = await settle(driver, call, await driver.observe(call, begun.handle))

    ran = count(tmp_path)
    assert ran["began"] == 1 and ran["ended"] <= 1
    assert isinstance(seen, Ended)
    assert seen.succeeded == bool(ran["ended"])
    await driver.clean(call, None)
    await driver.close()


@pytest.mark.parametrize("number", ENDS)
async def test_an_engine_that_ends_between_made_and_started_starts_nothing_by_itself(
    own, engine, tmp_path, number
) -> None:
    driver, call = engine.driver(), exec_call(engine, tmp_path, "step")
    handle = await driver.prepare(call)
    await asyncio.to_thread(own.restart, number)
    engine.client.start(call.request["target"]["id"])

    seen = await driver.observe(call, handle)
    ended = await settle(driver, call, await driver.start(call, handle))

    assert isinstance(seen, NotStarted), seen
    assert isinstance(ended, Ended) and ended.succeeded, ended
    assert count(tmp_path) == {"began": 1, "ended": 1}
    await driver.close()


@pytest.mark.parametrize("number", ENDS)
async def test_a_container_that_its_engine_made_in_another_life_is_not_known_to_be_unstarted(
    own, engine, tmp_path, number
) -> None:
    driver, call = engine.driver(), run_call(engine, tmp_path, "step")
    handle = await driver.prepare(call)
    before = await driver.observe(call, handle)
    await asyncio.to_thread(own.restart, number)

    after = await driver.observe(call, handle)

    assert isinstance(before, NotStarted), before
    assert isinstance(after, Unknown) and "was started anew" in after.evidence
    assert count(tmp_path) == {}
    await driver.close()


@pytest.mark.parametrize("milliseconds", [60, 180, 260, 320, 380, 440])
async def test_an_engine_that_is_killed_while_it_starts_a_container_starts_it_no_second_time(
    own, engine, tmp_path, milliseconds
) -> None:
    driver, call = engine.driver(), run_call(engine, tmp_path, "step")
    handle = await driver.prepare(call)
    starting = asyncio.ensure_future(driver.start(call, handle))
    await asyncio.sleep(milliseconds / 1000)
    await asyncio.to_thread(own.restart, signal.SIGKILL)

    seen = await starting
    if not isinstance(seen, Ended):
        seen = await settle(driver, call, await driver.observe(call, handle))

    assert isinstance(seen, Ended | Unknown), seen
    assert count(tmp_path)["began"] <= 1
    await driver.close()


@pytest.mark.parametrize("kind", [exec_call, run_call])
async def test_an_engine_that_was_away_when_the_command_ended_still_tells_its_result(
    own, engine, tmp_path, kind
) -> None:
    driver, call = engine.driver(), kind(engine, tmp_path, "step")
    begun = await driver.start(call, await driver.prepare(call))
    await asyncio.sleep(1.5)
    await driver.close()
    own.restart(signal.SIGKILL)

    second = engine.driver()
    seen = await settle(second, call, await second.observe(call, begun.handle))

    assert isinstance(seen, Ended) and seen.succeeded
    assert count(tmp_path) == {"began": 1, "ended": 1}
    await second.close()


@pytest.mark.parametrize("kind", [exec_call, run_call])
async def test_an_engine_that_stands_still_for_a_while_is_waited_for(own, engine, tmp_path, kind) -> None:
    driver, call = engine.driver(seconds=1.0), kind(engine, tmp_path, "step")
    begun = await driver.start(call, await driver.prepare(call))
    own.send(signal.SIGSTOP)
    watching = asyncio.ensure_future(settle(driver, call, begun, 60))
    await asyncio.sleep(6)
    own.send(signal.SIGCONT)

    seen = await watching

    assert isinstance(seen, Ended) and seen.succeeded
    assert answered(seen)["exitCode"] == 0
    assert count(tmp_path) == {"began": 1, "ended": 1}
    await driver.close()


@pytest.mark.parametrize("kind", [exec_call, run_call])
async def test_no_question_to_an_engine_that_stands_still_waits_without_end(own, engine, tmp_path, kind) -> None:
    driver, call = engine.driver(seconds=1.0), kind(engine, tmp_path, "step", "4")
    begun = await driver.start(call, await driver.prepare(call))
    first = engine.driver(seconds=1.0)  # nothing is known in it
    own.send(signal.SIGSTOP)
    began = time.monotonic()
    seen = await asyncio.gather(*(each.observe(call, begun.handle) for each in (driver, first)))
    waited = time.monotonic() - began
    unknown = await first.observe(call, None)
    own.send(signal.SIGCONT)

    assert isinstance(begun, Running) and waited < 15
    assert isinstance(seen[1], NoNews) and "has not answered" in seen[1].why
    assert isinstance(unknown, NoNews)
    ended = await settle(driver, call, begun)
    assert isinstance(ended, Ended) and ended.succeeded
    assert count(tmp_path) == {"began": 1, "ended": 1}


async def test_a_start_at_an_engine_that_stands_still_is_unknown_and_found_out_later(own, engine, tmp_path) -> None:
    driver, call = engine.driver(seconds=1.0), exec_call(engine, tmp_path, "step")
    handle = await driver.prepare(call)
    own.send(signal.SIGSTOP)
    seen = await driver.start(call, handle)
    own.send(signal.SIGCONT)

    later = await driver.observe(call, handle)
    if isinstance(later, NotStarted):
        later = await driver.start(call, handle)
    ended = await settle(driver, call, later)

    assert isinstance(seen, Unknown)
    assert isinstance(ended, Ended) and ended.succeeded
    assert count(tmp_path) == {"began": 1, "ended": 1}
    await driver.close()


@pytest.mark.timeout(60 + 30 * RESTARTS)
def test_engines_and_controllers_that_end_at_random_moments_make_no_success_of_what_was_none(
    own, engine, tmp_path
) -> None:
    chance, told = random.Random(SEED), Counter[str]()
    for number in range(RESTARTS):
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        engine.container(labels={"app": engine.mark}, Binds=[f"{folder}:/shared"], RestartPolicy={"Name": "always"})
        told += restarted_round(own, engine, folder, chance)
        engine.clear()
    print(f"\nseed {SEED}, {RESTARTS} restarts: {dict(told)}")
    assert not told["twice"] and not told["false"] and not told["denied"]


def restarted_round(own, engine, folder, chance) -> Counter[str]:
    """An engine that ends at a random moment of six tasks; every second time the controller ends with it."""
    inside = {"exec": ["sh", "-c", SPOKEN, "${{ params.step }}"], "in": {"labels": {"app": engine.mark}}}
    mounts = [{"source": str(folder), "target": "/shared", "readOnly": False}]
    outside = {"run": {"image": IMAGE, "command": inside["exec"], "mounts": mounts}}
    source = definitions_in(
        folder,
        job("exec", f"container: {json.dumps(inside)}", "params: {step: string}"),
        job("run", f"container: {json.dumps(outside)}", "params: {step: string}"),
        *(task(f"exec{each}", f"job: exec, with: {{step: exec{each}}}") for each in range(3)),
        *(task(f"run{each}", f"job: run, with: {{step: run{each}}}") for each in range(3)),
    )
    state, flags, host = folder / "state", allow(folder), {"DOCKER_HOST": own.address}
    lives = chance.random() < 0.5
    with Controller(f"dir:{source}", state, *flags, env=host) as controller:
        controller.started()
        time.sleep(chance.uniform(0.0, 3.0))
        under_way = sum(in_flight(state, name) for name in NAMES)
        own.restart(chance.choice(ENDS))
        if lives:
            controller.until(lambda: all(ended(state, name) for name in NAMES), seconds=60)
    with Controller(f"dir:{source}", state, *flags, "--until-idle", env=host) as controller:
        controller.wait(60)
        engine.adopt(state)
    return Counter(adopted=under_way, left=len(engine.names())) + sum(
        (judged(state, folder, name) for name in NAMES), Counter[str]()
    )


def judged(state, folder, name) -> Counter[str]:
    """What is recorded of a task beside what it did: its phase, and each way in which the two could disagree."""
    file = folder / "count"
    lines = [line for line in file.read_text().splitlines() if line.startswith(f"{name} ")] if file.exists() else []
    began, done = (sum(line.endswith(word) for line in lines) for word in ("began", "ended"))
    task_ = found(state, name)
    assert task_ is not None
    said = " ".join(each.message for each in task_.attempts.values())
    if began > 1 or done > 1:
        print(f"\n{name} ran twice: {lines}, {task_.attempts}")
    return Counter(
        {
            task_.record.phase.value: 1,
            "executed": bool(began),
            "twice": began > 1 or done > 1,
            "lost": any(each.phase is AttemptPhase.LOST for each in task_.attempts.values()),
            "false": task_.record.phase is TaskPhase.FINISHED and not done,
            "denied": began > 0 and any(each in said for each in ("nothing was sent", "nothing was started")),
        }
    )


def ended(state, name) -> bool:
    task_ = found(state, name)
    return task_ is not None and task_.record.phase in {TaskPhase.FINISHED, TaskPhase.FAILED}


def test_one_selector_finds_containers_on_two_engines(own, engine, tmp_path) -> None:
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("no second Docker engine: DOCKER_HOST is not set")
    first = TestEngine(os.environ["DOCKER_HOST"])
    try:
        here, there = (each.container(labels={"app": engine.mark}) for each in (first, engine))
        hosts = {"one": {"address": first.address}, "two": {"address": engine.address}}
        settings = tmp_path / "settings.yaml"
        settings.write_text(json.dumps({"drivers": {"container": {"hosts": hosts}}}))
        block = {"exec": ["hostname"], "in": {"labels": {"app": engine.mark}}}
        only = {**block, "on": ["two"]}
        source = definitions_in(
            tmp_path,
            job("both", f"container: {json.dumps(block)}"),
            job("only", f"container: {json.dumps(only)}"),
            task("both", "job: both"),
            task("only", "job: only"),
        )

        run_until_idle(f"dir:{source}", tmp_path / "state", "--settings", str(settings))

        both, alone = (found(tmp_path / "state", name) for name in ("both", "only"))
        assert both is not None and alone is not None
        everywhere: Any = both.record.outputs
        assert [(each["host"], each["id"]) for each in everywhere["results"]] == [
            ("one", here),
            ("two", there),
        ]
        on_two: Any = alone.record.outputs
        assert [each["id"] for each in on_two["results"]] == [there]
    finally:
        first.close()


async def test_a_container_is_removed_when_its_engine_is_back(own, engine, tmp_path) -> None:
    driver, call = engine.driver(), run_call(engine, tmp_path, "step")
    ended = await settle(driver, call, await driver.start(call, await driver.prepare(call)))
    own.send(signal.SIGKILL)
    cleaning = asyncio.ensure_future(driver.clean(call, ended.handle))
    await asyncio.sleep(1)
    waited = not cleaning.done()
    own.up()

    await asyncio.wait_for(cleaning, 30)

    assert waited
    assert engine.names() == []
    await driver.close()
