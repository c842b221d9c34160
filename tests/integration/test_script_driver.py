"""Bodies in real workers: what they may compute, what they are told, and that no attack reaches beyond its own step."""

import asyncio
import builtins
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from definitions.scopes import BUILTINS
from reconciler.drivers import script
from reconciler.drivers.protocol import Ended, NotStarted
from reconciler.drivers.script import ScriptDriver
from reconciler.drivers.script_code import MAX_PRINTED
from tests.calls import Log, answered, make_call

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SEED = "\nr = { 'name': '' } \nr['name'] = result[3].name \nreturn r"


@pytest.fixture
async def driver():
    made = ScriptDriver(now=lambda: NOON)
    yield made
    await made.close()


async def run(driver: ScriptDriver, body: str, log: Log | None = None, key: str = "u1/s/-/1", **inputs: Any) -> Ended:
    ended = await driver.start(make_call({"body": body, "inputs": inputs}, log=log, key=key), None)
    assert isinstance(ended, Ended)
    return ended


async def failure(driver: ScriptDriver, body: str, **inputs: Any) -> str:
    ended = await run(driver, body, **inputs)
    assert not ended.succeeded and not ended.cancelled
    assert ended.result is None
    return ended.message


async def test_the_seeds_reduction_runs_as_written(driver):
    stars = [{"name": "*" * length} for length in range(1, 5)]

    assert answered(await run(driver, SEED, result=stars)) == {"name": "****"}


async def test_a_list_that_is_too_short_fails_with_the_place(driver):
    message = await failure(driver, SEED, result=[{"name": "*"}])

    assert message == "IndexError: list index out of range (line 3, column 13 of the body)"


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return item.none", None),
        ("return item.none.deeper", None),
        ("return item.a.b[0].c", 1),
        ("return item.get('a').b[0].c", 1),
        ("return [key for key, value in item.items()]", ["a"]),
        ("return item.a['b'][0].c + 1", 2),
        ("total = 0\nfor each in item.a.b:\n    total += each.c\nreturn total", 1),
        ("def double(n):\n    return n * 2\nreturn double(item.a.b[0].c)", 2),
        ("class Point:\n    def __init__(self, x):\n        self.x = x\nreturn Point(3).x", 3),
        ("import math\nreturn round(math.pi, 2)", 3.14),
        ("match item.a.b[0].c:\n    case 1:\n        return 'one'\nreturn 'other'", "one"),
        ("item = item.a\nreturn item.b[0]", {"c": 1}),
        ("    return 1", 1),
        ("    x = '''a\n  b'''\n    return x", "a\n  b"),
        ("return (1, [True, None], {'k': 'é漢'})", [1, [True, None], {"k": "é漢"}]),
        ("# nothing", None),
        ("'only a text'", None),
    ],
)
async def test_python_over_data_means_what_it_says(driver, body, result):
    assert answered(await run(driver, body, item={"a": {"b": [{"c": 1}]}})) == result


async def test_an_endless_loop_ends_in_time(driver):
    begun = time.monotonic()

    message = await failure(driver, "while True:\n    pass")

    assert message == "TimeoutError: it ran longer than 0.5 s"
    assert time.monotonic() - begun < 5


async def test_an_endless_loop_that_catches_everything_ends_in_time(driver):
    body = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"

    assert "TimeoutError" in await failure(driver, body)


async def test_the_attempts_own_deadline_is_kept(driver):
    call = make_call({"body": "while True: pass", "inputs": {}}, remaining=0.05)

    ended = await driver.start(call, None)

    assert isinstance(ended, Ended)
    assert ended.message == "TimeoutError: it ran longer than 0.05 s"


@pytest.mark.parametrize(
    "body",
    [
        "return 'x' * 2000000000",
        "x = []\nwhile True:\n    x.append('a' * 100000)",
        "return 9 ** 9 ** 9 ** 9",
        "return sorted(range(200000000))",
    ],
)
async def test_a_memory_bomb_harms_its_worker_only(driver, body):
    assert await failure(driver, body) == "MemoryError: it needed more than 32 MiB"
    assert answered(await run(driver, "return 1", key="u1/next/-/1")) == 1


@pytest.mark.parametrize("answer", ["a", "str(a)"])
async def test_a_small_value_that_is_endless_when_walked_never_leaves_the_sandbox(driver, answer):
    message = await failure(driver, f"a = [1]\nfor i in range(40):\n    a = [a, a]\nreturn {answer}")

    assert re.match("MemoryError|TimeoutError|it did not end when its time was over", message)
    assert answered(await run(driver, "return 1", key="u1/next/-/1")) == 1


@pytest.mark.parametrize(
    "body",
    ["def f(n):\n    return f(n + 1)\nreturn f(0)", "f = lambda: f()\nreturn f()"],
)
async def test_deep_recursion_ends(driver, body):
    message = await failure(driver, body)

    assert message.startswith("RecursionError: calls nested deeper than 100 (line ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return {1, 2}", "Object of type set is not JSON serializable"),
        ("return float('nan')", "not JSON compliant"),
        ("return print", "not JSON serializable"),
        ("a = []\na.append(a)\nreturn a", "Circular reference"),
        ("a = []\nfor i in range(3000):\n    a = [a]\nreturn a", "recursion"),
        ("return b'x'", "bytes"),
    ],
)
async def test_a_result_that_is_not_json_is_told_as_that(driver, body, words):
    message = await failure(driver, body)

    assert message.startswith("OutputInvalid: the result is not JSON: ")
    assert words in message


async def test_a_result_nested_too_deep_or_too_large_is_refused(driver):
    deep = await failure(driver, "a = []\nfor i in range(40):\n    a = [a]\nreturn a")
    large = await failure(driver, "return 'x' * 70000")
    wide = await failure(driver, "return '漢' * 30000")

    assert deep == "OutputInvalid: JSON nested deeper than 32 levels"
    assert large == "OutputTooLarge: the result is larger than 65536 bytes"
    assert wide.startswith("OutputTooLarge: the result is larger than 65536 bytes")


async def test_what_is_printed_is_the_log(driver):
    log = Log()

    await run(driver, "import sys\nprint('one', 2)\nprint('three', file=sys.stderr)\nreturn 1", log)

    assert log.text("stdout") == "one 2\n"
    assert log.text("stderr") == "three\n"
    assert log.text("driver") == ""


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    print('x' * 1000)",
        "while True:\n    try:\n        print('x' * 100000)\n    except Exception:\n        pass",
        "for i in range(20):\n    try:\n        print('x' * 100000)\n    except Exception:\n        pass\nreturn 1",
    ],
)
async def test_printing_without_end_fails_and_keeps_the_beginning(driver, body):
    log = Log()

    ended = await run(driver, body, log)

    assert not ended.succeeded
    assert ended.message == "OutputTooLarge: it printed more than 1024 KiB"
    assert len(log.text("stdout")) == MAX_PRINTED


async def test_an_error_says_its_type_its_message_and_its_place(driver):
    log = Log()
    body = "x = {'é': item}\n\nraise ValueError('no ' + 'way\\nout')"

    ended = await run(driver, body, log, item=1)

    assert ended.message == "ValueError: no way out (line 3, column 7 of the body)"
    assert "ValueError: no way out" in log.text("driver")


async def test_the_place_counts_characters_of_the_body_as_written(driver):
    body = "    # comment\n    x = (1,\n         '漢字' + item.a.b)\n    return x"

    message = await failure(driver, body, item={"a": {}})

    assert message.endswith("(line 3, column 10 of the body)")


async def test_an_error_as_long_as_a_book_is_cut(driver):
    message = await failure(driver, "raise ValueError('x' * 1000000)")

    assert len(message) < 500
    assert message.endswith("(line 1, column 7 of the body)")


@pytest.mark.parametrize("body", ["return (1", "x = = 1", "return 1\n  return 2", "break", "yield 1", "del item"])
async def test_a_body_that_is_no_code_is_refused_for_good(driver, body):
    ended = await run(driver, body)

    assert not ended.succeeded and not ended.repeatable
    assert re.match(r"E-SCRIPT line \d+, column \d+ of the body: ", ended.message)


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read()",
        "import os\nreturn os.environ",
        "import os\nreturn os.getenv('PATH')",
        "import os\nos.system('id')",
        "import os\nreturn os.listdir('/')",
        "from pathlib import Path\nreturn Path('/etc/passwd').read_text()",
        "import socket",
        "import subprocess",
        "import ctypes",
        "return getattr((), '__class__').__mro__",
        "return getattr(print, '__globals__')",
        "return eval('__import__(\"os\")')",
        "return input()",
    ],
)
async def test_nothing_beyond_the_data_is_in_reach(driver, body):
    ended = await run(driver, body)

    assert not ended.succeeded or ended.result is None


async def test_the_clock_stands_still_and_chance_repeats(driver):
    body = "import datetime, random, time\nreturn [datetime.datetime.now().isoformat(), time.time(), random.random()]"

    first = answered(await run(driver, body))
    await driver.clean(make_call({}, key="u1/s/-/1"), None)
    again = answered(await run(driver, body))
    other = answered(await run(driver, body, key="u1/s/-/2"))

    assert first[:2] == ["2026-11-22T12:00:00", NOON.timestamp()]
    assert first == again
    assert first[2] != other[2]


async def test_sleeping_takes_no_time(driver):
    begun = time.monotonic()

    assert answered(await run(driver, "import time\ntime.sleep(3600)\nreturn 1")) == 1
    assert time.monotonic() - begun < 3


async def test_one_body_leaves_nothing_to_the_next(driver):
    await run(driver, "global len, kept\nlen = 5\nkept = 1\nreturn 1")

    assert answered(await run(driver, "return len([])", key="u1/s/-/2")) == 0
    assert "NameError" in await failure(driver, "return kept", key="u1/s/-/3")


async def test_a_worker_that_is_killed_costs_one_more_run(driver):
    slow = "n = 0\nfor i in range(2000000):\n    n += 1\nreturn n"
    driver = ScriptDriver(seconds=20)
    running = asyncio.ensure_future(run(driver, slow))
    (worker,) = await workers(1)

    os.kill(worker, signal.SIGKILL)

    assert answered(await running) == 2000000
    await driver.close()


async def test_a_worker_that_is_killed_twice_fails_the_script_and_not_the_driver():
    driver = ScriptDriver(seconds=20)
    log = Log()
    running = asyncio.ensure_future(run(driver, "print('x')\nwhile True:\n    pass", log))
    for _ in range(2):
        (worker,) = await workers(1)
        os.kill(worker, signal.SIGKILL)
        await gone(worker)

    ended = await running

    assert not ended.succeeded and ended.repeatable
    assert ended.message.startswith("its worker died twice under it: ")
    assert "SIGKILL" in ended.message
    assert answered(await run(driver, "return 1", key="u1/s/-/2")) == 1
    await driver.close()


async def test_the_event_loop_goes_on_while_bodies_run(driver):
    running = [asyncio.ensure_future(run(driver, "while True: pass", key=f"u1/s/-/{n}")) for n in range(4)]
    turns = 0

    while not all(each.done() for each in running):
        await asyncio.sleep(0.01)
        turns += 1

    assert all(not each.result().succeeded for each in running)
    assert turns > 10


async def test_a_long_body_holds_up_nobody_and_is_told_its_place(driver):
    body = "x = [a.b for a in [item] if a.c]\n" * 2_000 + "return item[1]"
    running = asyncio.ensure_future(failure(driver, body, item=[1]))
    turns = 0

    while not running.done():
        await asyncio.sleep(0.005)
        turns += 1

    assert await running == "IndexError: list index out of range (line 2001, column 8 of the body)"
    assert turns > 10


async def test_a_stopped_call_stops_its_worker_and_makes_room(driver):
    running = [asyncio.ensure_future(run(driver, "while True: pass", key=f"u1/s/-/{n}")) for n in range(2)]
    await workers(2)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)

    assert answered(await run(driver, "return 1", key="u1/other/-/1")) == 1


async def test_no_worker_outlives_its_controller():
    program = (
        "import asyncio\nfrom reconciler.drivers.script import ScriptDriver\nfrom tests.calls import make_call\n"
        "call = make_call({'body': 'while True: pass', 'inputs': {}})\n"
        "asyncio.run(ScriptDriver(seconds=1).start(call, None))\n"
    )
    controller = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    (worker,) = await workers(1, of=controller.pid)

    controller.kill()
    controller.wait()

    await gone(worker)


async def test_an_observer_is_told_that_it_may_run_again(driver):
    call = make_call({"body": "return 1", "inputs": {}})

    before = await driver.observe(call, None)
    await driver.start(call, None)
    after = await driver.observe(call, None)
    other = await ScriptDriver().observe(call, None)

    assert isinstance(before, NotStarted) and not before.refused
    assert answered(after) == 1
    assert isinstance(other, NotStarted)


async def test_without_the_extra_the_driver_says_its_name(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)

    ended = await run(driver, "return 1")

    assert not ended.succeeded and not ended.repeatable
    assert ended.message == script.MISSING
    assert "extra `script`" in ended.message


async def test_a_worker_that_cannot_be_started_is_proof_that_nothing_ran(driver, monkeypatch, tmp_path):
    monkeypatch.setenv("MONTY_BIN", str(tmp_path / "absent"))

    seen = await driver.start(make_call({"body": "return 1", "inputs": {}}), None)

    assert isinstance(seen, NotStarted) and seen.refused


async def test_every_builtin_that_validation_lets_pass_is_there(driver):
    assert answered(await run(driver, f"return len([{', '.join(sorted(BUILTINS))}])")) == len(BUILTINS)
    assert set(dir(builtins)) >= BUILTINS


async def workers(count: int, of: int | None = None) -> list[int]:
    """The pids of this process's workers, as soon as there are that many."""
    async with asyncio.timeout(10):
        while True:
            found = [pid for pid in children(of or os.getpid()) if b"monty" in command(pid)]
            if len(found) >= count:
                await asyncio.sleep(0.1)  # the body runs by then
                return found
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while command(pid):
            await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(each) for task in tasks.iterdir() for each in (task / "children").read_text().split()]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
