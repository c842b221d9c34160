"""One suite for every driver: what the loop may rely on, whatever the target is."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.fake import Answer, FakeDriver, FakeTarget, Fault
from reconciler.drivers.http import HttpDriver
from reconciler.drivers.process import ProcessDriver
from reconciler.drivers.protocol import Call, Driver, Ended, NotStarted, Observation, Running, Unknown
from reconciler.drivers.script import ScriptDriver
from tests.calls import KEY, Log, answered, make_call
from tests.engines import IMAGE, TestEngine, test_engine
from tests.loopback import Loopback, Request, answer, response, silence

SECRET = "c4nary/s3cret+value"


class Bench:
    """A driver over a target that outlives it. Requests are by what the target shall do with them."""

    name: str
    looks = True  # long work is Running, not one long call
    finds = True  # observe finds work by name or key
    codes: frozenset[int | None] = frozenset({1})  # of work that fails
    key = KEY

    def driver(self) -> Driver:
        raise NotImplementedError

    def request(self, behaviour: str) -> Mapping[str, Any]:
        raise NotImplementedError

    def executions(self, call: Call) -> int:
        raise NotImplementedError

    def finish(self, call: Call) -> None:
        """Long work ends successfully now."""

    def close(self) -> None:
        """Let go of the target."""


class FakeBench(Bench):
    def __init__(self) -> None:
        self.target = FakeTarget(self._script)

    def driver(self) -> Driver:
        return FakeDriver(self.target, look_again=0.01)

    def request(self, behaviour: str) -> Mapping[str, Any]:
        return {"behaviour": behaviour, "secret": "***"}

    def executions(self, call: Call) -> int:
        return self.target.executions[call.call_key]

    def finish(self, call: Call) -> None:
        self.target.finish(call.call_key)

    def _script(self, call: Call) -> Answer:
        return {
            "succeed": Answer(result={"value": 1}),
            "fail": Answer(succeeded=False, code=1, message="no"),
            "long": Answer(result={"value": 1}, looks=None),
            "unreachable": Answer(fault=Fault.REFUSED),
            "lost": Answer(fault=Fault.LOST_REPLY),
        }[str(call.request["behaviour"])]


class HttpBench(Bench):
    looks = False
    codes = frozenset({500})

    def __init__(self) -> None:
        self.server = Loopback().__enter__()
        self.server.routes |= {"/succeed": self._succeed, "/fail": answer(500, {"error": "no"}), "/lost": self._lose}
        self.server.routes |= {"/status": self._status, "/cancel": answer(204), "/long": silence()}

    def driver(self) -> Driver:
        return HttpDriver(connect_timeout=1)

    def request(self, behaviour: str) -> Mapping[str, Any]:
        url = "http://127.0.0.1:1/" if behaviour == "unreachable" else f"{self.server.url}/{behaviour}"
        return {
            "method": "POST",
            "url": url,
            "headers": {"Authorization": "***"},
            "timeout": 0.3,
            "verify": {"url": f"{self.server.url}/status", "found": "result.found", "result": "result.value"},
            "cancel": {"url": f"{self.server.url}/cancel"},
        }

    def executions(self, call: Call) -> int:
        return self.server.executions[f'"{call.call_key}"']

    def close(self) -> None:
        self.server.__exit__()

    def _succeed(self, request: Request, connection: Any) -> None:
        self.server.execute(request)
        answer(200, {"value": 1, "echo": request.headers["authorization"]})(request, connection)

    def _lose(self, request: Request, connection: Any) -> None:
        self.server.execute(request)

    def _status(self, request: Request, connection: Any) -> None:
        done = sum(self.server.executions.values())
        connection.sendall(response(200, b'{"found": %s, "value": {"value": 1}}' % (b"true" if done else b"false")))


class ProcessBench(Bench):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[ProcessDriver] = []

    def driver(self) -> Driver:
        self.opened.append(ProcessDriver(self.folder / "processes"))
        return self.opened[-1]

    def request(self, behaviour: str) -> Mapping[str, Any]:
        script = {
            "succeed": 'echo run >> "$COUNT"; echo "{\\"value\\": 1, \\"echo\\": \\"$TOKEN\\"}"',
            "fail": "echo no >&2; exit 1",
            "long": 'echo run >> "$COUNT"; while [ ! -e "$COUNT.end" ]; do sleep 0.02; done; echo "{\\"value\\": 1}"',
        }[behaviour]
        env = {"TOKEN": "***", "COUNT": str(self.folder / "count")}
        return {"command": ["sh", "-c", script], "env": env, "grace": 0.5}

    def executions(self, call: Call) -> int:
        count = self.folder / "count"
        return len(count.read_text().splitlines()) if count.exists() else 0

    def finish(self, call: Call) -> None:
        (self.folder / "count.end").touch()

    def close(self) -> None:
        for driver in self.opened:
            asyncio.run(driver.close())


class ScriptBench(Bench):
    """Code without effects: it shows that it ran by what it prints, and nothing of it outlives its driver."""

    looks = False
    finds = False
    codes = frozenset({None})

    def driver(self) -> Driver:
        return ScriptDriver()

    def request(self, behaviour: str) -> Mapping[str, Any]:
        body = {
            "succeed": "print('run', params.token)\nreturn {'value': 1, 'echo': params.token}",
            "fail": "raise ValueError('no ' + params.token)",
            "long": "print('run')\nwhile True: pass",
        }[behaviour]
        return {"body": body, "inputs": {"params": {"token": "***"}}}

    def executions(self, call: Call) -> int:
        assert isinstance(call.log, Log)
        return call.log.text("stdout").count("run")


class ContainerBench(Bench):
    """Work that counts itself in a folder of this machine which its container sees."""

    def __init__(self, folder: Path, engine: TestEngine) -> None:
        self.folder = folder
        self.engine = engine
        self.key = f"{engine.mark}/step1/-/1"  # others use the same engine

    def driver(self) -> Driver:
        return self.engine.driver()

    def words(self, behaviour: str) -> list[str]:
        script = {
            "succeed": 'echo run >>/bench/count; echo "{\\"value\\": 1, \\"echo\\": \\"$TOKEN\\"}"',
            "fail": "echo no >&2; exit 1",
            "long": 'echo run >>/bench/count; while [ ! -e /bench/end ]; do sleep 0.05; done; echo "{\\"value\\": 1}"',
        }.get(behaviour, "echo run >>/bench/count")
        return ["sh", "-c", script]

    def executions(self, call: Call) -> int:
        count = self.folder / "count"
        return len(count.read_text().splitlines()) if count.exists() else 0

    def finish(self, call: Call) -> None:
        (self.folder / "end").touch()

    def close(self) -> None:
        self.engine.close()


class ExecBench(ContainerBench):
    def request(self, behaviour: str) -> Mapping[str, Any]:
        target = self.engine.target(binds=[f"{self.folder}:/bench"])
        if behaviour == "unreachable":
            target["host"] = "nowhere"
        found = {"exec": self.words(behaviour), "in": {"ids": [target["id"]]}, "target": target}
        return {**found, "env": {"TOKEN": "***"}, "grace": 0.5}


class RunBench(ContainerBench):
    def request(self, behaviour: str) -> Mapping[str, Any]:
        mounts = [{"source": str(self.folder), "target": "/bench", "readOnly": False}]
        run = {"image": IMAGE, "command": self.words(behaviour), "mounts": mounts, "env": {"TOKEN": "***"}}
        host = "nowhere" if behaviour == "unreachable" else "here"
        return {"run": run, "on": [host], "grace": 0.5}


BENCHES = ("fake", "http", "process", "script", "exec", "run")
POINTERS = {
    "fake": "/secret",
    "http": "/headers/Authorization",
    "process": "/env/TOKEN",
    "script": "/inputs/params/token",
    "exec": "/env/TOKEN",
    "run": "/run/env/TOKEN",
}


@pytest.fixture(params=BENCHES)
def bench(request, tmp_path):
    kinds = {"fake": FakeBench, "http": HttpBench, "process": lambda: ProcessBench(tmp_path), "script": ScriptBench}
    kinds |= {"exec": lambda: ExecBench(tmp_path, test_engine()), "run": lambda: RunBench(tmp_path, test_engine())}
    made = kinds[request.param]()
    made.name = request.param
    yield made
    made.close()


def call_to(bench, behaviour: str, **options: Any) -> Call:
    references = {POINTERS[bench.name]: "app/token"}
    options = {"key": bench.key, **options}
    return make_call(bench.request(behaviour), references=references, secrets={"app/token": SECRET}, **options)


async def settle(driver: Driver, call: Call, seen: Observation) -> Observation:
    """Look until it does not run any more."""
    async with asyncio.timeout(10):
        while isinstance(seen, Running):
            await asyncio.sleep(min(seen.look_again, 0.05))
            seen = await driver.observe(call, seen.handle)
    return seen


async def test_work_that_succeeds_ends_with_its_result(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "succeed")

    handle = await driver.prepare(call)
    ended = await settle(driver, call, await driver.start(call, handle))

    assert isinstance(ended, Ended) and ended.succeeded
    result = answered(ended)["json"] if bench.name in {"process", "exec", "run"} else answered(ended)
    assert result["value"] == 1
    assert bench.executions(call) == 1
    await driver.close()


async def test_work_that_fails_ends_with_a_code_and_a_message(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "fail")

    ended = await settle(driver, call, await driver.start(call, None))

    assert isinstance(ended, Ended) and not ended.succeeded
    assert ended.code in bench.codes
    assert "no" in ended.message
    assert not ended.cancelled
    await driver.close()


async def test_what_was_never_started_is_not_started(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "succeed")

    seen = await driver.observe(call, None)

    assert isinstance(seen, NotStarted)
    assert seen.proof
    assert bench.executions(call) == 0
    await driver.close()


async def test_a_second_start_under_one_name_does_the_work_no_second_time(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "succeed")
    await settle(driver, call, await driver.start(call, None))

    again = await settle(driver, call, await driver.start(call, None))

    assert isinstance(again, Ended) and again.succeeded
    assert bench.executions(call) == 1
    await driver.close()


async def test_observing_is_repeatable_and_has_no_effect(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "succeed")
    await settle(driver, call, await driver.start(call, None))

    seen = [await driver.observe(call, None) for _ in range(3)]

    assert all(isinstance(each, Ended) and each.succeeded for each in seen)
    assert bench.executions(call) == 1
    await driver.close()


async def test_work_that_ends_with_its_controller_is_proof_for_the_next_one_that_nothing_runs(bench) -> None:
    if bench.finds:
        pytest.skip("work goes on at the target and is found there")
    first, call = bench.driver(), call_to(bench, "succeed")
    await first.start(call, None)
    await first.close()

    second = bench.driver()

    assert isinstance(await second.observe(call, None), NotStarted)
    await second.close()


async def test_a_new_controller_finds_the_work_of_the_one_that_died(bench) -> None:
    if not bench.finds:
        pytest.skip("nothing outlives the controller, see the test before this one")
    first, call = bench.driver(), call_to(bench, "long" if bench.looks else "lost")
    begun = await first.start(call, None)
    assert isinstance(begun, Running if bench.looks else Unknown)
    await first.close()

    second = bench.driver()
    bench.finish(call)
    ended = await settle(second, call, await second.observe(call, None))

    assert isinstance(ended, Ended) and ended.succeeded
    assert bench.executions(call) == 1
    await second.close()


async def test_long_work_is_running_until_it_ends(bench) -> None:
    if not bench.looks:
        pytest.skip("one call is one answer here: nothing runs between calls")
    driver, call = bench.driver(), call_to(bench, "long")

    begun = await driver.start(call, None)
    looked = await driver.observe(call, None)
    bench.finish(call)
    ended = await settle(driver, call, looked)

    assert isinstance(begun, Running) and begun.look_again > 0
    assert isinstance(looked, Running)
    assert isinstance(ended, Ended) and ended.succeeded
    await driver.close()


async def test_cancel_ends_long_work(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "long")
    await driver.start(call, None)

    cancelled = await driver.cancel(call, None)

    assert isinstance(cancelled, Ended)
    assert cancelled.cancelled and not cancelled.succeeded
    await driver.close()


async def test_a_result_that_was_faster_wins_over_cancel(bench) -> None:
    if bench.name == "http":
        bench.server.routes["/cancel"] = answer(409)
    driver, call = bench.driver(), call_to(bench, "succeed")
    await settle(driver, call, await driver.start(call, None))

    seen = await driver.cancel(call, None)

    assert isinstance(seen, Ended)
    assert seen.succeeded and not seen.cancelled
    await driver.close()


async def test_a_target_out_of_reach_is_proof_that_nothing_started(bench) -> None:
    if bench.name in {"process", "script"}:
        pytest.skip("the target is this machine")
    driver, call = bench.driver(), call_to(bench, "unreachable")

    seen = await driver.start(call, None)

    assert isinstance(seen, NotStarted) and seen.refused
    assert bench.executions(call) == 0
    await driver.close()


async def test_clean_is_repeatable_and_not_there_is_success(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "succeed")
    await driver.clean(call, None)
    ended = await settle(driver, call, await driver.start(call, None))

    await driver.clean(call, ended.handle)
    await driver.clean(call, ended.handle)

    assert bench.executions(call) == 1
    await driver.close()


@pytest.mark.parametrize("behaviour", ["succeed", "fail"])
async def test_no_secret_is_in_an_observation_or_in_the_log(bench, behaviour) -> None:
    log = Log()
    driver, call = bench.driver(), call_to(bench, behaviour, log=log)

    ended = await settle(driver, call, await driver.start(call, None))

    assert SECRET not in repr(ended)
    assert SECRET not in log.text()
    assert isinstance(ended, Ended)
    await driver.close()


async def test_a_secret_that_is_not_there_fails_the_call_before_anything_starts(bench) -> None:
    if bench.name == "fake":
        pytest.skip("the fake does not look into its request")
    driver = bench.driver()
    call = make_call(bench.request("succeed"), references={POINTERS[bench.name]: "app/token"})

    seen = await driver.start(call, None)

    assert isinstance(seen, Ended) and not seen.succeeded
    assert "app/token" in seen.message
    assert bench.executions(call) == 0
    await driver.close()


async def test_a_call_that_is_cancelled_by_dispatch_leaves_the_driver_usable(bench) -> None:
    driver, call = bench.driver(), call_to(bench, "long")
    starting = asyncio.ensure_future(driver.start(call, None))
    await asyncio.sleep(0.01)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)

    other = call_to(bench, "succeed", key=bench.key.replace("step1", "step2"))
    ended = await settle(driver, other, await driver.start(other, None))

    assert isinstance(ended, Ended) and ended.succeeded
    await driver.cancel(call, None)
    await driver.close()


def test_nothing_of_the_suite_is_left_running() -> None:
    mine = [pid for pid in os.listdir("/proc") if pid.isdecimal() and KEY.encode() in environment(pid)]

    assert mine == []


def environment(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
