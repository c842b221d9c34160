"""A Git source in memory: commits with trees, a branch that may be forced, and a server that does not always answer."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from definitions.revision import Blob, Revision, SourceUnavailable, Tree

NAME = "main"
Files = Mapping[str, str]


class Strikes(Protocol):
    """What may happen to the process that reads the source."""

    def point(self, name: str) -> None:
        """A yield point."""

    def fetch_error(self) -> bool:
        """Whether the server does not answer now."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; `depth` counts its ancestors."""

    oid: str
    parent: "Commit | None"
    files: Files
    subject: str
    at: datetime
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def ancestors(self) -> Iterator["Commit"]:
        """Itself, then all that it descends from."""
        each: Commit | None = self
        while each:
            yield each
            each = each.parent


class Repository:
    """Where people commit; it outlives every controller."""

    def __init__(self) -> None:
        self.head: Commit | None = None
        self.commits: dict[str, Commit] = {}  # all that there ever were

    @property
    def files(self) -> dict[str, str]:
        """The files at the head, to be changed and committed."""
        return dict(self.head.files) if self.head else {}

    def commit(self, files: Files, subject: str, at: datetime, trailers: tuple[tuple[str, str], ...] = ()) -> Commit:
        """A new head on top of the old one."""
        oid = hashlib.sha1(f"{len(self.commits) + 1} {subject}".encode(), usedforsecurity=False).hexdigest()
        self.head = self.commits[oid] = Commit(oid, self.head, dict(files), subject, at, trailers)
        return self.head

    def force(self, back: int) -> Commit | None:
        """Move the branch `back` commits, but not beyond the first one; where it is then, None if it did not move."""
        before = self.head
        for _ in range(back):
            if self.head and self.head.parent:
                self.head = self.head.parent
        return self.head if self.head is not before else None


class SimulatedSource:
    """A Source over a Repository, as one process sees it."""

    name = NAME

    def __init__(self, repository: Repository, strikes: Strikes) -> None:
        self._repository = repository
        self._strikes = strikes
        self._commits: dict[str, Commit] = {}

    def describe(self) -> str:
        return "memory:repository"

    def followed(self) -> str:
        return ""

    def revision(self) -> Revision:
        self._strikes.point("C0 fetch")
        if self._strikes.fetch_error():
            raise SourceUnavailable("FetchFailed", "the server does not answer")
        head = self._repository.head
        if head is None:
            raise SourceUnavailable("NoCommit", "there is no commit yet")
        self._commits[head.oid] = head
        return _revision(head)

    def tree(self, revision: Revision) -> Tree:
        files = self._commits[revision.commit].files
        return Tree(revision, {path: _blob(path, text) for path, text in sorted(files.items())})

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        self._strikes.point("C1 blobs")
        texts = {_oid(text): text for commit in self._commits.values() for text in commit.files.values()}
        for blob in blobs:
            yield blob, texts[blob.oid].encode()

    def changed(self, old: str, new: str) -> frozenset[str] | None:
        return None

    def since(self, name: str, new: str) -> Mapping[str, Blob] | None:
        found = [each for each in self._commits[new].ancestors if each.oid.startswith(name)]
        if not found:
            return None
        then, now = found[0].files, self._commits[new].files
        self._commits[found[0].oid] = found[0]
        paths = [path for path in then.keys() | now.keys() if then.get(path) != now.get(path)]
        return {
            path: _blob(path, then[path]) if path in then else Blob(path, "", 0, "100644") for path in sorted(paths)
        }

    def rewound(self, old: str, new: str) -> bool:
        return all(each.oid != old for each in self._commits[new].ancestors)

    def origins(self, paths: Collection[str], old: str | None, new: str) -> Mapping[str, Sequence[Revision]]:
        found: dict[str, list[Revision]] = {}
        for commit in self._commits[new].ancestors:
            if commit.oid == old:
                break
            before = commit.parent.files if commit.parent else {}
            for path in (path for path in paths if commit.files.get(path) != before.get(path)):
                found.setdefault(path, []).append(_revision(commit))
        return found

    def versions(self, path: str, revisions: Sequence[Revision]) -> Sequence[bytes]:
        known = {each.oid: each for tip in self._commits.values() for each in tip.ancestors}
        found = [known[each.commit].files.get(path) for each in revisions]
        return [text.encode() for text in found[: found.index(None) if None in found else None] if text is not None]

    def uncommitted(self) -> tuple[str, ...]:
        return ()

    def watch_paths(self) -> tuple[Path, ...]:
        return ()

    def close(self) -> None:
        """Nothing is held."""


def _revision(commit: Commit) -> Revision:
    who = ("Ada", "ada@example.invalid", "Ada")
    return Revision(NAME, commit.oid, *who, commit.subject, commit.at, trailers=commit.trailers)


def _oid(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _blob(path: str, text: str) -> Blob:
    return Blob(path, _oid(text), len(text.encode()), "100644")
