"""The repository as its user has it checked out: only asked for warnings and for what to watch, never for definitions.

Git runs here with the repository's own configuration, so it may refuse one that another user owns. A warning is not
worth a failure: whatever git refuses to say counts as nothing said.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from definitions.sources.acceptance import is_definition, printable
from definitions.sources.mirror import GitFailed, Mirror

_OURS = "^apiVersion: *[\"']?reconciler/"
_PEEK_BYTES = 64 * 1024
_STATUS = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")


def uncommitted(mirror: Mirror, root: Path, folder: str) -> tuple[str, ...]:
    """Definition files below `folder` that differ from the work tree's HEAD, new and deleted ones too, sorted."""
    output = _ask(mirror, root, *_STATUS, "--", folder or ".")
    touched = [os.fsdecode(entry[3:]) for entry in output.split(b"\0") if entry]
    candidates = {path for path in touched if is_definition(path.removeprefix(f"{folder}/") if folder else path)}
    gone = {path for path in candidates if not (root / path).exists()}
    ours = {path for path in candidates - gone if _is_ours(root / path)}
    return tuple(sorted(printable(path) for path in ours | (gone & _committed(mirror, root) if gone else gone)))


def ref_paths(mirror: Mirror, root: Path) -> tuple[Path, ...]:
    """The files and folders that change when a ref does, wherever a linked work tree or a bare repository has them."""
    lines = _ask(mirror, root, "rev-parse", "--absolute-git-dir", "--git-common-dir").splitlines()
    if not lines:
        return ()
    own, shared = (root / os.fsdecode(line) for line in lines)
    return (own / "HEAD", shared / "packed-refs", shared / "refs", shared / "reftable")


def _committed(mirror: Mirror, root: Path) -> set[str]:
    output = _ask(mirror, root, "grep", "-lzE", _OURS, "HEAD", "--")
    return {os.fsdecode(name).partition(":")[2] for name in output.split(b"\0")}


def _is_ours(file: Path) -> bool:
    """A cheap look at the first bytes; whether the file is a sound definition is for others to say."""
    if file.is_symlink() or not file.is_file():
        return False
    with suppress(OSError), file.open("rb") as stream:
        return re.search(_OURS.encode(), stream.read(_PEEK_BYTES), re.MULTILINE) is not None
    return False


def _ask(mirror: Mirror, root: Path, *arguments: str) -> bytes:
    with suppress(GitFailed):
        return mirror.run_in(root, *arguments)
    return b""
