"""One mutation in a copy of the repository of its own, and whether a test notices."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutation.mutations import Mutation, mutated, mutations
from tests.project.modules import ROOT

_PLAN = (
    "tests/scenarios",
    "tests/unit/test_capacity.py",
    "tests/unit/test_acceptance.py",
    "tests/unit/test_plan.py",
    "tests/unit/test_plan_restored.py",
    "tests/unit/test_plan_properties.py",
)
_STATE = ("tests/unit/test_phases.py", "tests/unit/test_changes.py", "tests/integration/test_store.py")
PLAYED = ("tests/simulation/test_simulation.py", "-k", "failed_once or crash_at_any")
"""What a mutation has to survive besides: histories of the whole loop. The kills and 2,000 seeds come on top in CI."""
TESTS: dict[str, tuple[str, ...]] = {
    **{f"reconciler/plan/{file.name}": _PLAN for file in sorted((ROOT / "reconciler" / "plan").glob("[!_]*.py"))},
    "state/phases.py": (*_STATE, *_PLAN),
    "state/changes.py": (*_STATE, *_PLAN),
    "state/store.py": (
        "tests/integration/test_store.py",
        "tests/integration/test_backup.py",
        "tests/integration/test_damage.py",
    ),
}
"""The tests that are asked, by module, those that are quickest to notice first."""
PATIENCE = 300.0
"""Seconds for the tests of one mutation; one that makes them last longer has been noticed."""


class Fate(StrEnum):
    """What became of a mutation."""

    CAUGHT = "caught"
    STUCK = "caught: the tests did not end"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutation and the file it belongs to."""

    file: str
    mutation: Mutation

    def __str__(self) -> str:
        return f"{self.file}:{self.mutation}"


def trials() -> Iterator[Trial]:
    """Every mutation of every module that decides."""
    for file in TESTS:
        yield from (Trial(file, each) for each in mutations((ROOT / file).read_text(encoding="utf-8")))


def copied(folder: Path) -> Path:
    """A copy of what the tests need in `folder`, made when it is not there."""
    if not folder.exists():
        for name in ("reconciler", "definitions", "state", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def fate(trial: Trial, folder: Path) -> Fate:
    """Make the mutation in the copy `folder`, ask the tests, and take it back."""
    file = copied(folder) / trial.file
    source = file.read_text(encoding="utf-8")
    file.write_text(mutated(source, trial.mutation.number), encoding="utf-8")
    try:
        for tests in (TESTS[trial.file], PLAYED):
            if noticed(folder, tests):
                return Fate.CAUGHT
    except subprocess.TimeoutExpired:
        return Fate.STUCK
    finally:
        file.write_text(source, encoding="utf-8")
    return Fate.SURVIVED


def noticed(folder: Path, tests: Sequence[str]) -> bool:
    """Whether one of `tests` fails in the copy `folder`. Raises TimeoutExpired."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    return ran.returncode != 0
