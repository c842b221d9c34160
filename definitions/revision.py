"""What a source of definitions answers: one revision, the files in it, and their bytes on demand.

Desired state is complete or unavailable, never partial. So a source either hands out a whole `Tree` of one `Revision`
or raises `SourceUnavailable`; a single bad file is a `Problem` beside the good ones. This module is values and one
protocol only: Git and folders live in `definitions.sources`, and whoever consumes a source never sees which it was.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from definitions.problems import Problem

FILE_BYTES_LIMIT = 1024 * 1024
"""A definition file beyond this many bytes is rejected (`E-SIZE`) without being read."""
FILES_LIMIT = 20_000
"""With more definition files than this the whole revision is unavailable (`E-COUNT`)."""
TOTAL_BYTES_LIMIT = 64 * 1024 * 1024
"""With more bytes of definition files than this the whole revision is unavailable (`E-COUNT`)."""
ALLOW_PRUNE = "Reconciler-Allow-Prune"
"""The trailer whose value says how many tasks a commit may remove at the most; it also makes an emptied tree believable."""
EMPTY = "EmptySource"
"""The reason of a source that has no files."""

_LFS_SIGNATURE = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of a source and who made it; names and texts come from the commit with control characters replaced.

    `commit` is a full 40-digit hash, or `dir:` and a SHA-256 of the files for a folder, whose people are empty strings.
    `at` is the committer's date in UTC (for a folder: when it was looked at). `signer` is None unless verified.
    """

    source: str
    commit: str
    author: str
    email: str
    committer: str
    subject: str
    at: datetime
    signer: str | None = None
    trailers: tuple[tuple[str, str], ...] = ()

    def trailer(self, name: str) -> str | None:
        """The value of the last trailer called `name`, in any letter case, or None."""
        values = [value for key, value in self.trailers if key.casefold() == name.casefold()]
        return values[-1] if values else None


@dataclass(frozen=True, slots=True)
class Blob:
    """One file: `path` in POSIX form from the source's root, `oid` as Git hashes its bytes, `size` in bytes."""

    path: str
    oid: str
    size: int
    mode: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The accepted `*.yaml` and `*.yml` files of a revision by path, sorted, and what was refused without reading."""

    revision: Revision
    blobs: Mapping[str, Blob]
    problems: tuple[Problem, ...] = ()
    origins: Mapping[str, Revision] = field(default_factory=dict)  # who last changed a path, where that was looked up

    def origin(self, path: str) -> Revision:
        """The revision that brought the bytes at `path`, as far as it is known; else this one."""
        return self.origins.get(path, self.revision)


class SourceUnavailable(Exception):
    """The source gives no whole revision now. What was in force stays; `reason` is CamelCase for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Source(Protocol):
    """Where definitions come from. Used from one thread at a time; everything but `name` may touch the disk."""

    name: str

    def describe(self) -> str:
        """Where this is and which ref and path are followed, for people."""
        ...

    def followed(self) -> str:
        """The ref as it was asked for, or the full name of the branch that was found instead; "" where there is none."""
        ...

    def revision(self) -> Revision:
        """Look again and say what is current; cheap when nothing is new. Raises SourceUnavailable."""
        ...

    def tree(self, revision: Revision) -> Tree:
        """The files of `revision`, none of them read. Raises SourceUnavailable, also beyond the limits above."""
        ...

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        """The bytes of each blob, in the order asked, proven to have its `oid`. Raises SourceUnavailable."""
        ...

    def changed(self, old: str, new: str) -> frozenset[str] | None:
        """The paths of all files, definitions or not, that differ between two commits; None if the source cannot tell.

        They begin at the root of the repository, whatever path is followed; at the folder's for a folder.
        """
        ...

    def since(self, name: str, new: str) -> Mapping[str, Blob] | None:
        """By path the YAML files that differ at `new` from an earlier commit, as they were there, for `read`; the blob
        has no `oid` where there was none. `name` is the commit's hash or the beginning of it; None where `new`
        descends from no such commit.
        """
        ...

    def rewound(self, old: str, new: str) -> bool:
        """Whether `new` does not descend from `old` (a force push)."""
        ...

    def origins(self, paths: Collection[str], old: str | None, new: str) -> Mapping[str, Sequence[Revision]]:
        """The commits after `old` (None: at all) and up to `new` that changed each of `paths`, the latest first, where
        any is found.
        """
        ...

    def versions(self, path: str, revisions: Sequence[Revision]) -> Sequence[bytes]:
        """The bytes of a file after each of `revisions`, in their order, up to one in which it is not to be had."""
        ...

    def uncommitted(self) -> tuple[str, ...]:
        """Definition files on disk that no commit has yet, for a warning; empty where that has no meaning."""
        ...

    def watch_paths(self) -> tuple[Path, ...]:
        """What to watch for a hint that `revision` may answer anew: files and folders, not all need to exist."""
        ...

    def close(self) -> None:
        """Let go of what is held; safe to call again."""
        ...


def pointer_problem(blob: Blob, data: bytes) -> Problem | None:
    """`E-LFS` if the bytes of `blob` are a Git LFS pointer: the definition itself is not in the repository."""
    if not data.startswith(_LFS_SIGNATURE):
        return None
    return Problem(blob.path, 1, 1, "E-LFS", "this is a Git LFS pointer; commit the definition itself")
