"""Flipped bits and cut files of a state that was killed: what a start makes of them, compared with what was there.

Each case is a copy of the same files with one thing wrong. A start may refuse it, hold it, or read the same as before;
what it must never do is to believe in a success that was not, or forget what it sent without a word.
"""

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from state.errors import StateError
from state.folder import StateFolder
from state.inspection import inspect
from state.phases import StepPhase, TaskPhase
from state.records import TaskSnapshot, Uid
from state.store import Store
from tests.workers import crew

FILES = ("state.db", "state.db-wal", "state.db-shm")
GOOD = frozenset({TaskPhase.FINISHED, StepPhase.SUCCEEDED, StepPhase.SKIPPED})


class Outcome(StrEnum):
    """What became of a case; the last two must not happen."""

    REFUSED = "refused with the restore command"
    HELD = "held as older"
    SAME = "read as before"
    FOUND = "found by check-state"
    UNSENT = "without a commit that nobody had acted upon yet"
    CHANGED = "changed unseen, in a value that no history covers"
    FORGOTTEN = "FORGOTTEN WITHOUT A WORD"
    WRONG = "A SUCCESS THAT WAS NOT"


@dataclass(frozen=True)
class Case:
    """One thing wrong with one file: the bit `at` is flipped, or (`cut`) the file ends at the byte `at`."""

    file: str
    at: int
    cut: bool

    def __str__(self) -> str:
        return f"{self.file} {'ends at byte' if self.cut else 'bit'} {self.at}"


@dataclass(frozen=True)
class Content:
    """What a store says: how far it came, and every task whole."""

    sequence: int
    noted: int  # how far the folder said it had come
    held: str
    tasks: Mapping[Uid, TaskSnapshot]


def cases(state: Path, flips: int, cuts: int, seed: int) -> Iterator[Case]:
    """Cases spread over the files by chance, with a share for each of them."""
    dice = random.Random(seed)
    sizes = {name: (state / name).stat().st_size for name in FILES if (state / name).exists()}
    for number in range(flips + cuts):
        name = dice.choice([each for each, size in sizes.items() if size])
        cut = number >= flips
        yield Case(name, dice.randrange(sizes[name] * (1 if cut else 8)), cut)


def judged(state: Path, scratch: Path, wanted: list[Case]) -> list[tuple[Case, Outcome, str]]:
    """Every case with its outcome and, where it was refused, what was said; in processes that keep no file open."""
    with crew(get_context("spawn"), 2, tasks=50) as pool:
        before = pool.apply(_content, (_copied(state, scratch / "whole"),))
        work = [(state, scratch / f"case{number}", each, before) for number, each in enumerate(wanted)]
        found = pool.starmap(_judge, work, chunksize=5)
    return [(each, *outcome) for each, outcome in zip(wanted, found, strict=True)]


def _judge(state: Path, folder: Path, case: Case, before: Content) -> tuple[Outcome, str]:
    _spoil(_copied(state, folder) / case.file, case)
    try:
        after = _content(folder)
    except StateError as error:
        return Outcome.REFUSED, str(error)
    except Exception as error:
        return Outcome.WRONG, f"{type(error).__name__}: {error}"
    return _compared(folder, before, after), ""


def _compared(folder: Path, before: Content, after: Content) -> Outcome:
    if after.held:
        return Outcome.HELD
    if set(_successes(after)) - set(_successes(before)):
        return Outcome.WRONG
    if after.sequence < before.sequence:
        return Outcome.UNSENT if after.sequence >= before.noted else Outcome.FORGOTTEN
    if after.tasks.keys() != before.tasks.keys():
        return Outcome.FORGOTTEN
    if after.tasks == before.tasks:
        return Outcome.SAME
    return Outcome.FOUND if inspect(folder) else Outcome.CHANGED


def _successes(content: Content) -> Iterator[tuple[str, str]]:
    for uid, task in content.tasks.items():
        phases: dict[str, Any] = {"": task.record.phase, **{path: step.phase for path, step in task.steps.items()}}
        yield from ((uid, path) for path, phase in phases.items() if phase in GOOD)


def _content(folder: Path) -> Content:
    """What a controller would find, without what its start itself writes."""
    noted = StateFolder(folder).read_sequence()
    store = Store.open(folder)
    uids = store._column("SELECT uid FROM tasks ORDER BY number")
    return Content(store._sequence, noted, store.held, store.snapshot(uids).tasks)


def _copied(state: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for each in state.iterdir():
        if each.is_file():
            shutil.copy(each, folder)
    return folder


def _spoil(file: Path, case: Case) -> None:
    with file.open("r+b") as stream:
        if case.cut:
            stream.truncate(case.at)
            return
        stream.seek(case.at // 8)
        (byte,) = stream.read(1)
        stream.seek(case.at // 8)
        stream.write(bytes([byte ^ (1 << case.at % 8)]))
