"""What the disk may do to a controller, and what a person may do to its files: nothing fires twice, nothing is believed."""

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing

import pytest

from reconciler.cli.failure import DONE, FAILED
from reconciler.drivers.process import ProcessDriver
from reconciler.drivers.protocol import Ended, Running
from state.database import VERSION
from state.phases import StepPhase, TaskPhase
from state.reader import Reader
from tests.calls import answered, make_call
from tests.controllers import Controller, command, conditions, run_until_idle
from tests.crash.campaign import strace_works
from tests.crash.disks import (
    FLAGS,
    NEVER,
    executed,
    fill,
    killed_state,
    outgrown,
    over,
    recovered,
    remount,
    second_controller,
    settled,
    small_disk,
    spoiled,
    under_fault,
    violations,
)
from tests.crash.oracle import tasks_in
from tests.crash.world import World

needs_strace = pytest.mark.skipif(not strace_works(), reason="failing system calls need strace (apt install strace)")


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made


def open_tasks(world):
    return {name for name, each in tasks_in(world.state).items() if each.record.phase is not TaskPhase.FINISHED}


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
    open_ = open_tasks(world)
    assert {"t12", "t13", "t14", "t15"} <= open_
    preview = command("adopt", "--all", "--dry-run", "--state", state).stdout
    assert all(f"would adopt default/{name}\n" in preview for name in open_)

    command("adopt", "--all", "--state", state)
    adopted = run_until_idle(world.repository.folder, state, *FLAGS)

    assert executed(world) == before, adopted.text[-2000:]
    assert violations(world) == []
    print(f"after adopting: {Counter(each.record.phase.value for each in tasks_in(state).values())}")
    assert "RestoredOlder" not in conditions(state)


def test_some_are_adopted_and_the_others_stay_held(world, tmp_path):
    """--none decides too: new tasks begin as they come."""
    killed_state(world)
    command("backup", tmp_path / "copy.db", "--state", world.state)
    command("restore", tmp_path / "copy.db", "--state", world.state)
    run_until_idle(world.repository.folder, world.state, *FLAGS)
    held = open_tasks(world)
    command("adopt", "--none", "--state", world.state)
    run_until_idle(world.repository.folder, world.state, *FLAGS)
    world.want(1)

    again = run_until_idle(world.repository.folder, world.state, *FLAGS)

    assert again.process.returncode == 2, again.text[-2000:]
    assert held and open_tasks(world) == held
    assert {each.record.held for name, each in tasks_in(world.state).items() if name in held} == {
        "restored from copy.db"
    }
    one = min(held)
    assert f"adopt default/{one}\n1 of {len(held)} held back" in command("adopt", one, "--state", world.state).stdout
    run_until_idle(world.repository.folder, world.state, *FLAGS)
    left = {f"default/{name}" for name in held - {one}}
    with closing(Reader(world.state)) as reader:
        assert {f"{each.namespace}/{each.name}" for each in reader.held_back()} == left
    assert max(executed(world).values()) == 1


@needs_strace
@pytest.mark.parametrize(
    ("fault", "when", "codes"),
    [
        ("pwrite64:error=ENOSPC", "14..17", {DONE}),
        ("pwrite64:error=EIO", "20..20", {FAILED}),
        ("fdatasync:error=EIO", "9..9", {FAILED}),
        ("fdatasync:error=ENOSPC", "15..15", {FAILED}),
    ],
)
def test_a_failing_disk_costs_no_result_and_sends_nothing_twice(world, fault, when, codes):
    """A full disk is waited out. After any other failed write or fsync the controller ends, and says why."""
    code, said = under_fault(world, fault, when)

    assert code in codes, said[-2000:]
    assert "nothing can be recorded, so nothing is dispatched" in said if code == DONE else "the disk under" in said
    assert recovered(world) == []


def test_a_full_disk_stops_dispatch_and_loses_no_result(world, tmp_path, monkeypatch):
    monkeypatch.setenv("RECONCILER_MIN_FREE", "1MiB")
    try:
        with small_disk(tmp_path / "small", "6m") as disk:
            _on_a_small_disk(world, disk)
    except PermissionError as error:
        pytest.skip(f"a small file system: {error}")


def _on_a_small_disk(world, disk):
    world.state = disk / "state"
    world.want(2)
    with Controller(world.repository.folder, world.state, *FLAGS) as controller:
        controller.until(lambda: len(world.target.requests) > 4)
        fill(disk)
        controller.until(lambda: "nothing new is dispatched" in controller.text)
        time.sleep(1)
        seen = len(world.target.requests)
        world.want(1)
        time.sleep(1)
        assert len(world.target.requests) == seen
        remount(disk, "size=64m")
        (disk / "filler").unlink()
        controller.until(lambda: over(world), 40)
        assert "dispatch goes on" in controller.text
        assert controller.terminate() == DONE
    tasks = tasks_in(world.state)
    lost = [name for name, each in tasks.items() if _posted(world, each) and not _recorded(each)]
    assert lost == []
    assert violations(world) == []


def test_a_file_system_of_one_megabyte_is_full_by_itself_and_goes_on_when_it_grows(world, tmp_path):
    try:
        with small_disk(tmp_path / "small", "1m") as disk:
            assert outgrown(world, disk) == []
    except PermissionError as error:
        pytest.skip(f"a small file system: {error}")


async def test_a_command_keeps_its_output_and_its_end_until_there_is_room_for_them(tmp_path):
    try:
        with small_disk(tmp_path / "small", "1m") as disk:
            await _on_a_full_disk(disk, tmp_path / "go")
    except PermissionError as error:
        pytest.skip(f"a small file system: {error}")


async def _on_a_full_disk(disk, go):
    driver = ProcessDriver(disk / "processes")
    script = 'echo begun; while [ ! -e "$0" ]; do sleep 0.02; done; echo end; exit 3'
    call = make_call({"command": ["sh", "-c", script, str(go)]})
    while not (disk / "processes" / call.name / "1" / "stdout").exists():
        assert isinstance(await driver.start(call, None), Running)
    fill(disk)
    go.touch()
    await asyncio.sleep(1.0)
    assert isinstance(await driver.observe(call, None), Running)

    (disk / "filler").unlink()
    async with asyncio.timeout(10):
        while isinstance(seen := await driver.observe(call, None), Running):
            await asyncio.sleep(0.05)

    assert isinstance(seen, Ended) and (seen.succeeded, seen.code) == (False, 3)
    assert answered(seen)["stdout"] == "begun\nend\n"
    await driver.close()


def _posted(world, each):
    return any(
        key.strip('"').startswith(each.attempts["once"].key) for key in executed(world) if "once" in each.attempts
    )


def _recorded(each):
    return each.steps["once"].phase is StepPhase.SUCCEEDED


def test_a_state_folder_that_became_read_only_is_an_error_and_stays_readable(world, tmp_path, monkeypatch):
    monkeypatch.setenv("RECONCILER_MIN_FREE", "1MiB")
    try:
        with small_disk(tmp_path / "small", "16m") as disk:
            world.state = disk / "state"
            world.want(1)
            run_until_idle(world.repository.folder, world.state, *FLAGS)
            remount(disk, "ro")
            done = command("run", "--source", world.repository.folder, "--state", world.state, "--listen", "off")
            assert done.returncode == FAILED
            assert "the state folder" in done.stderr and "cannot be written" in done.stderr
            assert "FINISHED" in command("get", "tasks", "--state", world.state).stdout
    except PermissionError as error:
        pytest.skip(f"a read-only file system: {error}")


def test_spoiled_files_are_refused_or_held_and_never_believed(world, tmp_path):
    """`make storage` does more of it."""
    found = spoiled(killed_state(world), tmp_path / "killed", flips=30, cuts=10)
    found += spoiled(settled(world.state), tmp_path / "settled", flips=30, cuts=10)

    print(Counter(f"{each.file} {'cut' if each.cut else 'flip'}: {outcome}" for each, outcome, _ in found))
    assert [f"{case}: {outcome} {said}" for case, outcome, said in found if outcome in NEVER] == []
    refusals = {said for _, _, said in found if said}
    assert refusals and all("reconciler restore BACKUP --state" in said for said in refusals)


def test_a_second_controller_ends_at_once_and_harms_nothing(world):
    with Controller(world.repository.folder, world.state, *FLAGS) as first:
        first.started()
        times, codes, said = zip(*(second_controller(world) for _ in range(4)), strict=True)
        world.want(1)
        first.until(lambda: len(tasks_in(world.state)) == 1 and not open_tasks(world))
    print(f"a second controller ends after {min(times):.2f} to {max(times):.2f} s")
    assert set(codes) == {FAILED}
    assert all(f"another controller (process {first.process.pid})" in each for each in said)
    assert violations(world) == []


def test_a_database_of_a_newer_release_is_left_alone(world):
    world.want(1)
    run_until_idle(world.repository.folder, world.state, *FLAGS)
    with closing(sqlite3.connect(world.state / "state.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (world.state / "state.db").read_bytes()

    done = command("run", "--source", world.repository.folder, "--state", world.state, "--listen", "off")

    assert (done.returncode, "run the release that wrote it" in done.stderr) == (FAILED, True)
    assert (world.state / "state.db").read_bytes() == before
