"""From what an operator writes as `--source` to the source itself.

A path with a Git repository is a Git source, because then every action has an author and a review; a folder without one
must be asked for by name (`dir:PATH`), so that nobody gets unreviewed definitions by mistake.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from definitions.revision import Source, SourceUnavailable
from definitions.sources.folder import FolderSource
from definitions.sources.location import locate

_FOLDER_PREFIX = "dir:"


def open_source(
    name: str,
    location: str,
    ref: str | None,
    path: str,
    mirror: Path,
    clock: Callable[[], datetime],
    signers: Path | None = None,
) -> Source:
    """The source called `name` at `location`; `mirror` is the folder for a Git source's own copy, `signers` a file of
    keys whose signatures it trusts.

    From inside a work tree the whole repository is the source and `path` is taken from there. Raises SourceUnavailable
    for a location, ref or path that cannot be a source; whether a Git repository can be read shows in `revision`.
    """
    if location.startswith(_FOLDER_PREFIX):
        if ref is not None:
            raise SourceUnavailable("BadRef", f"{location} is a folder: it has no ref {ref}")
        return FolderSource(name, Path(location.removeprefix(_FOLDER_PREFIX) or "."), path, clock)
    folder = locate(location).folder
    root = _repository(folder)
    from definitions.sources.git import GitSource  # here, because a folder source must work where git is missing

    return GitSource(name, str(root), ref, str(folder.relative_to(root) / path), mirror, signers=signers)


def _repository(folder: Path) -> Path:
    """The repository that `folder` is, or lies in; a location that does not exist yet may become one."""
    if _is_bare(folder) or not folder.exists():
        return folder
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            return root
    message = f"{folder} is not in a Git repository; to use its files as they are, write {_FOLDER_PREFIX}{folder}"
    raise SourceUnavailable("NotARepository", message)


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()
