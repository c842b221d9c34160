"""What the disk may do to a controller, and what a person may do to its files: nothing fires twice, nothing is believed."""

import subprocess
import time
from collections import Counter

import pytest

from reconciler.cli.failure import DONE
from state.inspection import inspect
from state.phases import TaskPhase
from state.reader import Reader
from tests.controllers import COMMAND, Controller, conditions, run_until_idle
from tests.crash.oracle import tasks_in
from tests.crash.world import OUTPUTS, World

FLAGS = ("--enable", "process")


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """A command of the product, to its end."""
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def executed(world: World) -> Counter[str]:
    """How often each call that may happen once only really happened: POSTs by key, commands by attempt."""
    return Counter({key.strip('"'): count for key, count in world.target.executions.items()}) + world.runs()


def twice(world: World) -> dict[str, int]:
    return {key: count for key, count in executed(world).items() if count > 1}


def test_a_backup_under_load_is_restored_and_nothing_fires_twice(world, tmp_path):
    copy, state = tmp_path / "copy.db", world.state
    world.want(12)
    with Controller(world.repository.folder, state, *FLAGS) as controller:
        controller.until(lambda: sum(count > 0 for count in executed(world).values()) >= 4)
        begun = time.monotonic(), Reader(state).sequence()
        backed_up = command("backup", copy, "--state", state)
        rate = (Reader(state).sequence() - begun[1]) / (time.monotonic() - begun[0])
        world.want(4)
        controller.until(lambda: all(controller.found(name) for name in world.tasks))
        controller.until(lambda: {each.record.phase for each in tasks_in(state).values()} == {TaskPhase.FINISHED}, 60)
        assert controller.terminate() == DONE
    print(f"{rate:.0f} events a second during the backup")
    assert backed_up.returncode == DONE, backed_up.stderr
    before = executed(world)
    requests = len(world.target.requests)

    restored = command("restore", copy, "--state", state)
    held = run_until_idle(world.repository.folder, state, *FLAGS)

    assert restored.returncode == DONE, restored.stderr
    assert held.process.returncode == 2, held.text[-2000:]
    assert len(world.target.requests) == requests
    assert "RestoredOlder" in conditions(state)
    assert "held: restored from copy.db" in command("why", "t12", "--state", state).stdout
    open_ = {name for name, each in tasks_in(state).items() if each.record.phase is not TaskPhase.FINISHED}
    assert {"t12", "t13", "t14", "t15"} <= open_
    preview = command("adopt", "--all", "--dry-run", "--state", state).stdout
    assert all(f"would adopt default/{name}\n" in preview for name in open_)

    command("adopt", "--all", "--state", state)
    adopted = run_until_idle(world.repository.folder, state, *FLAGS)

    assert twice(world) == {}, adopted.text[-2000:]
    assert executed(world) == before
    tasks = tasks_in(state)
    ended = Counter((each.record.phase, each.record.reason) for each in tasks.values())
    print(f"after adopting: {dict(ended)}")
    assert {phase for phase, _ in ended} <= {TaskPhase.FINISHED, TaskPhase.FAILED}
    assert all(each.record.outputs == OUTPUTS for each in tasks.values() if each.record.phase is TaskPhase.FINISHED)
    assert all(reason == "Lost" for phase, reason in ended if phase is TaskPhase.FAILED)
    assert "RestoredOlder" not in conditions(state)
    assert inspect(state) == []
