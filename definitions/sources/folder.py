"""Definitions from a plain folder (`dir:PATH`), for a laptop and for mounted files: no history, no people.

Files change while they are read here, so a revision is the hash of what was seen, and bytes that no longer fit it make
the source unavailable until the next look. Links inside the folder are not followed; the folder itself may be one, so
a mounted ConfigMap is named as `dir:MOUNT/..data`.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from definitions.problems import Problem
from definitions.revision import ALLOW_PRUNE, EMPTY, FILE_BYTES_LIMIT, Blob, Revision, SourceUnavailable, Tree
from definitions.sources.acceptance import LINK_MODE, Accepted, accept, is_candidate, is_definition, normal_folder
from definitions.sources.git_output import blob_hash

_SETTLED_SECONDS = 2.0  # a younger file may change again within one tick of the file system's clock
_TREES_KEPT = 4


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file's stamp (change and modification time in ns, size, inode) and the hash that its bytes had then."""

    stamp: tuple[int, int, int, int]
    oid: str


class FolderSource:
    """The definitions below `path` in `folder`; `clock` gives the time of each look.

    `trailers` stands for what Git takes from a commit message (ALLOW_PRUNE). Used from one thread.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        path: str,
        clock: Callable[[], datetime],
        *,
        trailers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.name = name
        self._folder = folder.expanduser().absolute()
        self._path = normal_folder(path)
        self._clock = clock
        self._trailers = trailers
        self._seen: dict[str, _Seen] = {}
        self._trees: dict[str, Tree] = {}

    def describe(self) -> str:
        """The folder whose files are read."""
        return f"dir:{self._root()}"

    def followed(self) -> str:
        """A folder has no refs."""
        return ""

    def revision(self) -> Revision:
        """Look at the stamp of every file and hash those that changed; the same files give the same revision."""
        now = self._clock()
        with _settled_or_unavailable(self._root()):
            accepted = self._hashed(accept(self._path, self._candidates()), now)
        commit = _digest(accepted)
        if commit not in self._trees:
            revision = Revision(self.name, commit, "", "", "", "", now, trailers=self._trailers)
            self._keep(Tree(revision, accepted.blobs, accepted.problems))
        return self._trees[commit].revision

    def tree(self, revision: Revision) -> Tree:
        """The files as they were at `revision`, which must be one of the last few looks."""
        if revision.commit not in self._trees and self.revision().commit != revision.commit:
            raise SourceUnavailable("FilesChanged", f"{self.describe()} is no longer at {revision.commit}")
        return self._trees[revision.commit]

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        """The bytes of `blobs`, unless a file changed since the look that found them."""
        for blob in blobs:
            with _settled_or_unavailable(self._root()):
                data = _read(self._folder / blob.path, blob.size)
            if blob_hash(data) != blob.oid:
                raise SourceUnavailable("FilesChanged", f"{blob.path} changed while it was read")
            yield blob, data

    def changed(self, old: str, new: str) -> frozenset[str] | None:
        """The exact difference between two of the last few looks; None for older ones."""
        if old not in self._trees or new not in self._trees:
            return None
        before, after = (self._trees[commit].blobs for commit in (old, new))
        return frozenset(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))

    def since(self, name: str, new: str) -> Mapping[str, Blob] | None:
        """A folder has no earlier commits."""
        return {} if new.startswith(name) else None

    def rewound(self, old: str, new: str) -> bool:
        """A folder has no history to rewrite."""
        del old, new
        return False

    def origins(self, paths: Collection[str], old: str | None, new: str) -> Mapping[str, Sequence[Revision]]:
        """A folder does not know who changed what."""
        del paths, old, new
        return {}

    def versions(self, path: str, revisions: Sequence[Revision]) -> Sequence[bytes]:
        """Nor what it was."""
        del path, revisions
        return ()

    def uncommitted(self) -> tuple[str, ...]:
        """Every file counts as it is."""
        return ()

    def watch_paths(self) -> tuple[Path, ...]:
        """The folder itself."""
        return (self._root(),)

    def close(self) -> None:
        """Forget what was seen."""
        self._seen.clear()
        self._trees.clear()

    def _root(self) -> Path:
        return self._folder / self._path

    def _keep(self, tree: Tree) -> None:
        self._trees[tree.revision.commit] = tree
        if len(self._trees) > _TREES_KEPT:
            del self._trees[next(iter(self._trees))]

    def _candidates(self) -> Iterator[Blob]:
        """Every entry that could be a definition, none of them read; raises SourceUnavailable for an empty folder."""
        root = self._root()
        folders, found = [""], False
        while folders:
            prefix = folders.pop()
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    found = True
                    path = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.extend([] if entry.name.startswith(".") else [f"{path}/"])
                    elif blob := _candidate(entry, path):
                        yield blob
        if not found and ALLOW_PRUNE not in dict(self._trailers):
            text = f"{root} has no files at all; if that is meant, say so by `--allow-prune N` (E-EMPTY-SET)"
            raise SourceUnavailable(EMPTY, text)

    def _hashed(self, accepted: Accepted, now: datetime) -> Accepted:
        """The accepted files with their hashes; a file that cannot be read is a problem of its own."""
        blobs: dict[str, Blob] = {}
        problems = list(accepted.problems)
        seen: dict[str, _Seen] = {}
        for path, blob in accepted.blobs.items():
            try:
                blobs[path] = self._hash(blob, now, seen)
            except PermissionError:
                problems.append(Problem(path, 1, 1, "E-READ", "the file may not be read"))
        self._seen = seen
        return Accepted(blobs, tuple(sorted(problems)))

    def _hash(self, blob: Blob, now: datetime, seen: dict[str, _Seen]) -> Blob:
        found = os.lstat(self._folder / blob.path)
        stamp = (found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._seen.get(blob.path)
        if known is None or known.stamp != stamp:
            data = _read(self._folder / blob.path, found.st_size)
            known = _Seen(stamp, blob_hash(data))
        if now.timestamp() - max(found.st_mtime, found.st_ctime) > _SETTLED_SECONDS:
            seen[blob.path] = known
        return Blob(blob.path, known.oid, found.st_size, blob.mode)


@contextmanager
def _settled_or_unavailable(root: Path) -> Iterator[None]:
    """Turn what the file system may answer in the middle of a change into SourceUnavailable."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = "FilesChanged" if root.is_dir() else "PathVanished"
        raise SourceUnavailable(reason, f"{root}: {error.strerror}: {error.filename}") from error
    except OSError as error:
        raise SourceUnavailable("FolderUnreadable", f"{root}: {error.strerror}: {error.filename}") from error


def _candidate(entry: "os.DirEntry[str]", path: str) -> Blob | None:
    """The entry as `git ls-tree` would list it; a link to some other file is nobody's concern."""
    if entry.is_symlink():
        leads_to_file = not is_definition(path) and os.path.isfile(entry.path)  # noqa: PTH113 - False for a loop
        return None if leads_to_file else Blob(path, "", 0, LINK_MODE)
    if not is_candidate(Blob(path, "", 0, "")):
        return None
    found = entry.stat(follow_symlinks=False)
    mode = f"{found.st_mode:o}"
    if stat.S_ISREG(found.st_mode):
        mode = "100755" if found.st_mode & stat.S_IXUSR else "100644"
    return Blob(path, "", found.st_size, mode)


def _read(file: Path, size: int) -> bytes:
    """The first `size` bytes and at most one more: a file that grew shows, and a pipe put in its place cannot block."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(min(size, FILE_BYTES_LIMIT) + 1)


def _digest(accepted: Accepted) -> str:
    """One name for all that was seen: a file that becomes refused is news as much as one that changes."""
    digest = sha256()
    for blob in accepted.blobs.values():
        digest.update(f"{blob.path}\0{blob.oid}\0".encode())
    for problem in accepted.problems:
        digest.update(f"{problem}\0".encode())
    return f"dir:{digest.hexdigest()}"
