"""The definition files that a person is about to change: found in a work tree, read and written as bytes.

Files are found by the rules by which the controller finds them in a commit, so what is not looked at there is not
changed here. A file is replaced whole or not at all.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from definitions.documents import read
from definitions.files import parse_file
from definitions.problems import Problem
from definitions.revision import EMPTY, Blob, SourceUnavailable
from definitions.sources.acceptance import is_definition
from definitions.sources.folder import FolderSource
from reconciler.cli.failure import Failure
from reconciler.cli.repository import Repository

_FOLDER_PREFIX = "dir:"
_MARK = b"reconciler/v"
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_ESCAPE = b"\\"  # with it a text can be spelt in another way


@dataclass(frozen=True, slots=True)
class Found:
    """One document of ours: its file from the root of the checkout, its number in the file and its JSON value.

    `doubt` says why nothing may ever be what it is about.
    """

    path: str
    index: int
    value: Mapping[str, Any]
    doubt: str = ""

    @property
    def kind(self) -> str:
        """As it says; "" if it does not."""
        return str(self.value.get("kind", ""))

    @property
    def identity(self) -> tuple[str, str]:
        """(namespace, name)."""
        metadata = self.metadata
        return str(metadata.get("namespace", "default")), str(metadata.get("name", ""))

    @property
    def title(self) -> str:
        """`namespace/name`."""
        return "/".join(self.identity)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata; empty if they are none."""
        found = self.value.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def control(self) -> dict[str, Any]:
        """Its control part; empty if it has none."""
        found = self.value.get("control")
        return dict(found) if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file of ours that is not in force as it stands: its first error, what it may define, and what can be read of it.

    Where not all of it can be read, `names` has more than the documents.
    """

    error: Problem
    names: frozenset[str]
    documents: tuple[Found, ...]

    @property
    def unread(self) -> bool:
        """Whether it may hold more than its documents."""
        return bool(self.names - {each.identity[1] for each in self.documents})


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with definition files below `path`, and the repository it belongs to, if commits are to be made there."""

    root: Path
    path: str
    repository: Repository | None

    def documents(self, mark: bytes = b"") -> Iterator[Found]:
        """Every document of ours in the files that contain `mark` or could spell it otherwise. Raises SourceUnavailable."""
        for blob, data in self._files():
            if mark in data or _ESCAPE in data:
                yield from _ours(blob.path, data)

    def rejected(self, *marks: bytes) -> Iterator[Rejected]:
        """The files that contain `marks` and cannot be in force, whatever the other files say. Raises SourceUnavailable."""
        for blob, data in self._files():
            file = parse_file(blob, data, "") if all(mark in data for mark in marks) else None
            if file and file.broken:
                error = next(problem for problem in file.problems if not problem.warning)
                yield Rejected(error, file.names | {stub.name for stub in file.stubs}, tuple(_ours(blob.path, data)))

    def _files(self) -> Iterator[tuple[Blob, bytes]]:
        """The files that may be ours."""
        source = FolderSource("main", self.root, self.path, lambda: datetime.now(UTC))
        try:
            tree = source.tree(source.revision())
        except SourceUnavailable as error:
            if error.reason != EMPTY:
                raise
            other = "--source and --path name another place, `reconciler init` begins one"
            raise Failure(f"{self.root / self.path} has no files; {other}") from None
        return ((blob, data) for blob, data in source.read(list(tree.blobs.values())) if _MARK in data)

    def below(self, name: str) -> str:
        """The file `name`, which is relative to the definitions, from the root."""
        return name if self.path in {"", "."} else f"{self.path}/{name}"

    def watched(self, path: str) -> bool:
        """Whether the controller would look at a file of this path."""
        folder = "" if self.path in {"", "."} else f"{self.path}/"
        return path.startswith(folder) and is_definition(path.removeprefix(folder))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None where there is none. Raises Failure."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}") from None

    def write(self, path: str, data: bytes | None) -> None:
        """Replace a file, or remove it for None; its mode stays. Raises Failure, also where nobody may write to it."""
        file = self.root / path
        try:
            if data is not None and file.exists() and not file.stat().st_mode & _WRITABLE:
                raise Failure(f"{path} is write-protected (`chmod u+w` frees it)")
            if data is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                _replace(file, data)
        except OSError as error:
            raise Failure(
                f"cannot write {path}: {error.strerror}; give another place with --file, or free it"
            ) from None


def open_checkout(location: str, path: str, *, commit: bool) -> Checkout:
    """The work tree at `location` as `reconciler run --source` takes it. Raises Failure where commits are not possible."""
    if location.startswith(_FOLDER_PREFIX):
        return Checkout(_existing(location.removeprefix(_FOLDER_PREFIX)), path, None)
    folder = _existing(location)
    repository = Repository(folder)
    if not repository.exists():
        if commit:
            raise Failure(f"{folder} is not in the work tree of a Git repository; --no-commit only writes the file")
        return Checkout(folder, path, None)
    root = repository.root()
    inside = (folder.resolve().relative_to(root.resolve()) / path).as_posix()
    literal = dict(os.environ) | {"GIT_LITERAL_PATHSPECS": "1"}  # a file may be called `*.yaml`
    return Checkout(root, inside, Repository(root, literal) if commit else None)


def _existing(text: str) -> Path:
    folder = Path(text.removeprefix("file://") or ".").expanduser()
    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}; name the work tree with the definitions with --source")
    return folder


def _ours(path: str, data: bytes) -> Iterator[Found]:
    for document in read(path, data)[0]:
        value = document.value
        if isinstance(value, dict) and str(value.get("apiVersion", "")).startswith("reconciler/v"):
            yield Found(path, document.index, value)


def _replace(file: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".reconciler-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        if file.exists():
            shutil.copymode(file, name)
        else:
            Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
