"""A case played from its first commit to rest, in a state folder in memory: what happened, and what it came to."""

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from state.phases import TaskPhase
from state.store import Store
from tests.simulation.case import Case
from tests.simulation.known import remembered
from tests.simulation.oracle import Violation
from tests.simulation.world import World

MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    case: Case
    history: tuple[str, ...]
    reached: Counter[str]
    points: int
    ends: dict[str, TaskPhase]  # the tasks by name and run
    violation: str = ""


def play(case: Case) -> Outcome:
    """Play `case`; a violation is part of the outcome."""
    folder = _scratch()
    _lay_out(folder / "state")
    world = World(case, folder)
    text = ""
    with Quiet(world), remembered():
        try:
            world.run()
        except Violation as violation:
            text = str(violation)
            world.note(f"VIOLATION {text}")
        finally:
            for process in world.processes:
                process.bury()
            shutil.rmtree(folder, ignore_errors=True)
    return Outcome(case, tuple(world.history), world.found, world.points, world.oracle.ends, text)


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="rc-", dir=MEMORY if MEMORY.is_dir() else None))


@cache
def _empty_state() -> dict[str, bytes]:
    """The files of a state folder as a first start leaves them, made once: migrating is not what is simulated."""
    folder = _scratch()
    try:
        Store.open(folder, new_name=lambda: "simulated").close(keep_wal=False)
        return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(folder: Path) -> None:
    folder.mkdir()
    for name, data in _empty_state().items():
        (folder / name).write_bytes(data)


class Quiet:
    """What the product logs becomes part of the history, and a logged exception is a violation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        self._before = structlog.get_config()
        structlog.configure(processors=[self._take], cache_logger_on_first_use=False)

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._before)

    def _take(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        error = event.get("exc_info")
        error = sys.exc_info()[1] if error is True else error
        self._world.note(f"log {method}: {event['event']}" + (f" {error!r}" if error else ""))
        if isinstance(error, Exception):
            self._world.oracle.surprised(error)
        raise structlog.DropEvent
