"""A planted bug as it lies on disk: a patch whose header says what it breaks, what that violates and who must notice."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "patches"
PRODUCT = ("definitions", "reconciler", "state")
ALLOWED_TO_LIVE = 1
"""So many of the whole set may survive."""


class DoesNotApply(Exception):
    """The code has moved away under a patch; the text is git's."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug. `catchers` are pytest node ids, the likeliest and quickest first."""

    name: str
    breaks: str
    violates: str
    catchers: tuple[str, ...]
    file: Path


def mutants() -> list[Mutant]:
    """All of them, by name."""
    return [_read(file) for file in sorted(FOLDER.glob("*.patch"))]


def _read(file: Path) -> Mutant:
    header = file.read_text(encoding="utf-8").partition("\ndiff --git ")[0]
    said = [line.partition(": ")[::2] for line in header.splitlines() if line]
    (breaks,) = [text for key, text in said if key == "Breaks"]
    (violates,) = [text for key, text in said if key == "Violates"]
    catchers = tuple(text for key, text in said if key == "Caught by")
    return Mutant(file.stem, breaks, violates, catchers, file)


def rotated(given: Sequence[Mutant], count: int, turn: int) -> list[Mutant]:
    """`count` of them, others at each turn: after len(given) / count turns each has had its own."""
    first = turn * count
    return [given[(first + place) % len(given)] for place in range(min(count, len(given)))]


def plant(mutant: Mutant, tree: Path, *options: str) -> None:
    """Apply the patch to the files in `tree`. Raises DoesNotApply."""
    command = ["git", "apply", "--whitespace=nowarn", *options, str(mutant.file)]
    answer = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DoesNotApply(answer.stderr.strip())


def renew(mutant: Mutant, tree: Path = ROOT) -> None:
    """Make what is changed in the work tree at `tree` the body of the patch; its header stays."""
    header = mutant.file.read_text(encoding="utf-8").partition("diff --git ")[0]
    command = ["git", "diff", "-U1", "--no-color", "--no-ext-diff", "--", *PRODUCT]
    body = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout
    lines = [line for line in body.splitlines(keepends=True) if not line.startswith("index ")]
    if not lines:
        raise DoesNotApply(f"{tree} is as it was committed: plant the bug there first")
    mutant.file.write_text(header + "".join(lines), encoding="utf-8")
