"""What the tests of storage are made of: failing, full and small disks, spoiled files, backups under load.

`test_storage.py` does a few of each, `python -m tests.crash.storage` many.
"""

import os
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from state.inspection import inspect
from state.phases import TaskPhase
from tests.controllers import Controller, command, run_until_idle
from tests.crash.damage import Case, Outcome, cases, judged
from tests.crash.oracle import tasks_in
from tests.crash.world import OUTPUTS, World

FLAGS = ("--enable", "process")
NEVER = frozenset({Outcome.WRONG, Outcome.FORGOTTEN})


def executed(world: World) -> Counter[str]:
    """How often each call that may happen once only really happened: POSTs by key, commands by attempt."""
    return Counter({key.strip('"'): count for key, count in world.target.executions.items()}) + world.runs()


def violations(world: World) -> list[str]:
    """What must not be, once a controller has ended by itself after a fault."""
    found = [f"{key} happened {count} times" for key, count in executed(world).items() if count > 1]
    found += [str(finding) for finding in inspect(world.state)]
    tasks = tasks_in(world.state)
    found += [f"{name} is not there" for name in world.tasks if name not in tasks]
    for name, task in tasks.items():
        record = task.record
        if record.phase is TaskPhase.FINISHED and record.outputs != OUTPUTS:
            found.append(f"{name} finished with {record.outputs}")
        if record.phase is not TaskPhase.FINISHED and record.reason != "Lost":
            found.append(f"{name} is {record.phase} {record.reason}: {record.message}")
    return found


def failing(state: Path, fault: str, when: str) -> tuple[str, ...]:
    """The words before a command under which system calls on the database fail, e.g. `pwrite64:error=EIO`, `7..20`."""
    files = (f"-P{state / name}" for name in ("state.db", "state.db-wal"))
    call, _, error = fault.partition(":")
    return ("strace", "-f", "-qq", "-o", os.devnull, *files, f"-etrace={call}", f"-einject={call}:{error}:when={when}")


def under_fault(world: World, fault: str, when: str, seconds: float = 40.0) -> tuple[int, str]:
    """New tasks under a failing disk: (exit code, what was said). It ends by itself, one way or the other."""
    run_until_idle(world.repository.folder, world.state)  # the schema is there: what fails now is work
    world.want(2)
    wrapped = failing(world.state, fault, when)
    with Controller(world.repository.folder, world.state, "--until-idle", *FLAGS, wrapped=wrapped) as controller:
        code = controller.wait(seconds)
        return code, controller.text


def recovered(world: World) -> list[str]:
    """After the disk is well again: the way to the end, and what is wrong there."""
    controller = run_until_idle(world.repository.folder, world.state, *FLAGS)
    ended = [] if controller.process.returncode in {0, 1} else [f"exit code {controller.process.returncode}"]
    return ended + violations(world)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in memory; raises PermissionError where this user may not mount one."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        raise PermissionError(f"{folder}: only root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte free on the file system of `folder`; its file `filler` is what can be removed again."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * (1 << 16)):
            pass


def outgrown(world: World, disk: Path) -> list[str]:
    """More work than fits on `disk`, which is full for a second and then grows: what is wrong in the end."""
    world.state = disk / "state"
    world.want(3)
    small = {"RECONCILER_MIN_FREE": "64KiB"}
    with Controller(world.repository.folder, world.state, *FLAGS, env=small) as controller:
        controller.until(lambda: "nothing new is dispatched" in controller.text)
        fill(disk)
        time.sleep(1)
        remount(disk, "size=64m")
        controller.until(lambda: over(world), 40)
        code = controller.terminate()
    return violations(world) + ([f"exit code {code}"] if code else [])


def over(world: World) -> bool:
    """Whether everything that is wanted is there and has ended."""
    tasks = tasks_in(world.state)
    return len(tasks) == len(world.tasks) and not any(each.record.live for each in tasks.values())


def killed_state(world: World) -> Path:
    """The state of a controller that was killed in the middle of several tasks; its log is not checkpointed."""
    world.want(4)
    with Controller(world.repository.folder, world.state, *FLAGS) as controller:
        controller.until(lambda: sum(executed(world).values()) >= 4)
        controller.kill()
    return world.state


def settled(state: Path) -> Path:
    """The same with everything in the database itself, where no checksum is beside it."""
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return state


def spoiled(state: Path, scratch: Path, flips: int, cuts: int, seed: int = 1) -> list[tuple[Case, Outcome, str]]:
    return judged(state, scratch, list(cases(state, flips, cuts, seed)))


def second_controller(world: World) -> tuple[float, int, str]:
    """(seconds, exit code, what was said) of a controller on a folder that has one."""
    began = time.monotonic()
    done = command("run", "--source", world.repository.folder, "--state", world.state, "--listen", "off")
    return time.monotonic() - began, done.returncode, done.stderr


def put_back(world: World, chance: random.Random) -> list[str]:
    """Work, a backup in the middle of it, more work, then the older database: what is wrong once it is adopted."""
    copy, state = world.state.with_name("copy.db"), world.state
    world.want(12)
    with Controller(world.repository.folder, state, *FLAGS) as controller:
        begun = chance.randint(1, 12)
        controller.until(lambda: sum(executed(world).values()) >= begun, 90)
        said = [command("backup", copy, "--state", state)]
        world.want(4)
        controller.until(lambda: over(world), 90)
        controller.terminate()
    before = executed(world)
    said += [command("restore", copy, "--state", state), command("adopt", "--all", "--state", state)]
    run_until_idle(world.repository.folder, state, *FLAGS)
    again = executed(world) - before
    failed = [each.stderr for each in said if each.returncode]
    return failed + [f"{key} happened again" for key in again] + violations(world)
