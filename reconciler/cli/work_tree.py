"""Definition files as they lie on disk, committed or not, so that people can check before they commit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from definitions.library import Library, Unresolved, build
from definitions.problems import Problem
from definitions.program import Program
from definitions.sources.folder import FolderSource
from reconciler.cli.failure import Failure
from reconciler.drivers.script import available
from reconciler.settings import DriversSettings

DRIVERS = frozenset(DriversSettings.model_fields) - (set() if available() else {"script"})
_FOLDER_PREFIX = "dir:"


@dataclass(frozen=True, slots=True)
class WorkTree:
    """What the files below one folder say. `problems` name files as seen from where the command was started.

    Where one file was asked for, problems, files and definitions are those of that file alone.
    """

    library: Library
    problems: tuple[Problem, ...]
    files: int
    definitions: int

    @property
    def errors(self) -> int:
        """How many of the problems keep a definition out."""
        return sum(not problem.warning for problem in self.problems)


def load(location: str) -> WorkTree:
    """The files below a folder, or one file together with what lies beside it. Raises Failure, SourceUnavailable."""
    place = Path(location.removeprefix(_FOLDER_PREFIX) or ".")
    if not place.exists():
        raise Failure(f"there is no {place}; name a folder or a file with definitions")
    folder = place if place.is_dir() else _around(place)
    source = FolderSource("main", folder, ".", lambda: datetime.now(UTC))
    tree = source.tree(source.revision())
    library = build(tree, source.read, drivers=DRIVERS)
    wanted = None if place.is_dir() else place.resolve().relative_to(folder.resolve()).as_posix()
    problems = tuple(_seen_from_here(library.problems, folder, wanted))
    own = [each for each in library.definitions.values() if wanted in {None, each.path}]
    return WorkTree(library, problems, len(tree.blobs) if wanted is None else 1, len(own))


def _around(file: Path) -> Path:
    """The repository that a file lies in, else its folder: where what it refers to is looked for."""
    parents = file.absolute().parents
    return next((parent for parent in parents if (parent / ".git").exists()), parents[0])


def _seen_from_here(problems: Sequence[Problem], folder: Path, wanted: str | None) -> list[Problem]:
    prefix = PurePosixPath(folder.as_posix())
    here = Path.cwd()
    if folder.is_absolute() and folder.is_relative_to(here):
        prefix = PurePosixPath(folder.relative_to(here).as_posix())
    kept = [problem for problem in problems if wanted in {None, problem.file}]
    return [replace(problem, file=str(prefix / problem.file)) for problem in sorted(kept)]


def program(work_tree: WorkTree, kind: str, name: str) -> Program:
    """The compiled workflow or job that `name` or `namespace/name` names; raises Failure with what there is, or why not."""
    known = sorted(identity[1:] for identity in work_tree.library.definitions if identity[0] == kind)
    namespace, _, short = name.rpartition("/")
    found = [each for each in known if each[1] == short and namespace in {"", each[0]}]
    if not found and (error := _rejected(work_tree, kind, namespace, short)):
        raise Failure(f"the {kind.lower()} {name} is rejected at {error}")
    if len(found) != 1:
        raise Failure(_not_one(kind, name, found or known, several=bool(found)))
    try:
        return work_tree.library.program(kind, *found[0])
    except Unresolved as error:
        raise Failure(
            f"the {kind.lower()} {name} cannot be compiled: {error}; `reconciler validate` says where"
        ) from None


def _rejected(work_tree: WorkTree, kind: str, namespace: str, name: str) -> Problem | None:
    """Why the file that defines this, or what of it can be read names it, is rejected."""
    for path, (error, *_) in work_tree.library.rejected.items():
        file = work_tree.library.files[path]
        stubs = (stub for stub in file.stubs if (stub.kind, stub.name) == (kind, name))
        if any(namespace in {"", stub.namespace} for stub in stubs) or name in file.names:
            seen = (each for each in work_tree.problems if each.file.endswith(path))
            return next((each for each in seen if replace(each, file=path) == error), error)
    return None


def _not_one(kind: str, name: str, known: Sequence[Sequence[Any]], *, several: bool) -> str:
    names = ", ".join("/".join(each) for each in known) or "none"
    if several:
        return f"several {kind.lower()}s are named {name}: {names}; write one of these"
    return f"there is no {kind.lower()} {name}; these are there: {names}"
