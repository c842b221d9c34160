"""What continuous integration checks, run in a copy of the tree: pytest node by node, the whole suite, the linters."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from tests.mutants.mutant import ROOT

LINTERS = (("ruff", "check", "."), ("lint-imports",), ("mypy",))
ITSELF = "tests/project/test_mutants.py"
"""It checks that the patches apply: where one has been applied it must fail, and that proves nothing."""
SUITE = ("tests", f"--ignore={ITSELF}")
_SILENT = ("-x", "-q", "--tb=line", "-rfE", "-p", "no:cacheprovider", "--timeout-method=signal")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", flags=re.MULTILINE)
_ENOUGH = 900.0


_ending = Event()
_running: set[int] = set()


class Unusable(Exception):
    """A check could not be run at all, which catches nothing; the text is the end of what it printed."""


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """What git tracks here, as it stands in the work tree, in a folder of its own that goes afterwards.

    Raises Unusable after `end_all`.
    """
    if _ending.is_set():
        raise Unusable("it was told to end")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    with TemporaryDirectory(prefix="reconciler-mutant-") as folder:
        tree = Path(folder) / "tree"
        for name in filter(None, listing.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        for command in (["init", "-q"], ["add", "-A"]):  # tests ask git which files there are
            subprocess.run(["git", *command], cwd=tree, check=True)
        yield tree


def failing_test(tree: Path, nodes: Sequence[str], workers: int = 0) -> str:
    """The first of the tests `nodes` that fails in `tree`, "" if all pass. Raises Unusable."""
    spread = ["-n", str(workers)] if workers > 1 else []
    code, said = _run(tree, sys.executable, "-m", "pytest", *_SILENT, *spread, *nodes)
    found = _FAILED.search(said)
    if code == 0:
        return ""
    if code not in {1, 2} or found is None:
        raise Unusable(said[-2000:])
    return found[1]


def failing_linter(tree: Path) -> str:
    """The first linter that complains about `tree`, "" if none does."""
    folder = Path(sys.executable).parent
    for program, *arguments in LINTERS:
        code, _ = _run(tree, str(folder / program), *arguments)
        if code:
            return program
    return ""


def end_all() -> None:
    """End what runs, so that whoever waits for it goes on, and begin nothing more."""
    _ending.set()
    for process in list(_running):
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def _run(tree: Path, *command: str) -> tuple[int, str]:
    """Exit code and output; the process and its children end after `_ENOUGH` seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(process.pid)
    try:
        said, _ = process.communicate(timeout=_ENOUGH)
    except subprocess.TimeoutExpired:
        raise Unusable(f"{command[2]} did not end within {_ENOUGH:g} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _running.discard(process.pid)
    return process.returncode, said
