"""Definitions from a Git repository, read through a bare mirror of our own and never through a work tree.

The ref is resolved to a full hash first and only the hash is used afterwards, so one answer never mixes two commits.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import repeat, takewhile
from pathlib import Path
from typing import TypeVar

from definitions.revision import ALLOW_PRUNE, EMPTY, FILE_BYTES_LIMIT, Blob, Revision, SourceUnavailable, Tree
from definitions.sources.acceptance import (
    LINK_MODE,
    accept,
    below,
    is_candidate,
    is_definition,
    normal_folder,
    printable,
)
from definitions.sources.git_output import (
    HISTORY_FORMAT,
    LOG_FORMAT,
    Garbled,
    blobs_from,
    contents_from,
    entries_from,
    entry_from,
    history_from,
    paths_from,
    reaches_files,
    refs_from,
    revision_from,
)
from definitions.sources.location import FULL_HASH, SHORT_HASH, locate, ref_names
from definitions.sources.mirror import GitFailed, Mirror
from definitions.sources.signatures import Signers
from definitions.sources.work_tree import ref_paths, uncommitted

_TIP = "refs/reconciler/tip"
_HISTORY = 5_000
"""Commits that are searched for who last changed a file."""
_READ_BATCH_BYTES = 8 * 1024 * 1024

T = TypeVar("T")


class GitSource:
    """The definitions below `path` at `ref` of the repository at `location`, mirrored in the folder `mirror`.

    Without `ref` the branch that the repository's HEAD names at the first look is followed from then on: a developer
    who switches branches does not change what should run. Who signed with a key of the file `signers` is named as the
    signer of a commit. `mirror` belongs to one GitSource, used from one thread.
    Raises SourceUnavailable for an address, ref or path that is not allowed.
    """

    def __init__(
        self,
        name: str,
        location: str,
        ref: str | None,
        path: str,
        mirror: Path,
        *,
        allow_file: bool = True,
        signers: Path | None = None,
    ) -> None:
        self.name = name
        self._location = locate(location, allow_file=allow_file)
        self._asked = ref
        self._refs = ref_names(ref) if ref is not None and not FULL_HASH.fullmatch(ref) else ()
        self._commit = ref if ref is not None and FULL_HASH.fullmatch(ref) else None
        self._path = normal_folder(path)
        self._mirror = Mirror(mirror)
        self._signers = Signers(self._mirror, signers)
        self._seen: tuple[str, Revision] | None = None
        self._entries: dict[bytes, Blob | None] = {}  # by record of the last listing; None: no candidate
        self._suspect = False
        self._prepared = False

    def describe(self) -> str:
        """The address, the ref and the path."""
        ref = self._commit or (self._refs[0].removeprefix("refs/heads/") if self._refs else "HEAD")
        return f"{self._location.url} at {ref}" + (f", below {self._path}" if self._path else "")

    def followed(self) -> str:
        """The ref as it was asked for; without one the branch that HEAD named, as `refs/heads/…`, once that is known."""
        return self._asked or (self._refs[0] if self._refs else "")

    def revision(self) -> Revision:
        """Ask the repository where the ref is, fetch if that is news; one git command if it is not."""
        self._prepare()
        ref, oid = self._resolve()
        if self._seen is None or self._seen[0] != oid:
            self._seen = (oid, self._signers.sign(self._repaired(lambda: self._fetched(ref, oid))))
        return self._seen[1]

    def tree(self, revision: Revision) -> Tree:
        """List the files at `revision`; an empty tree needs a `Reconciler-Allow-Prune` trailer to be believed."""
        self._prepare()
        return self._repaired(lambda: self._listed(revision))

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        """The bytes of `blobs`, in batches of bounded size."""
        self._prepare()
        for batch in _batches(blobs):
            yield from zip(batch, self._repaired(partial(self._contents, batch)), strict=True)

    def changed(self, old: str, new: str) -> frozenset[str] | None:
        """The exact difference if the mirror still has both commits, whatever lies between them; else None."""
        if not (FULL_HASH.fullmatch(old) and FULL_HASH.fullmatch(new)):
            return None
        self._prepare()
        try:
            return frozenset(paths_from(self._mirror.run("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new)))
        except GitFailed:
            return None

    def since(self, name: str, new: str) -> Mapping[str, Blob] | None:
        """As far back as the mirror goes."""
        if not SHORT_HASH.fullmatch(name):
            return None
        self._prepare()
        with suppress(GitFailed):
            old = self._mirror.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
            changed = self.changed(old, new) if self._descends(old, new) else None
            return None if changed is None else {each.path: each for each in self._as_they_were(old, changed)}
        return None

    def rewound(self, old: str, new: str) -> bool:
        """Whether history was rewritten between two commits; a shallow history is given the benefit of the doubt."""
        if not (FULL_HASH.fullmatch(old) and FULL_HASH.fullmatch(new)) or self._descends(old, new):
            return False
        return self._descends(new, old) or not self._mirror.shallow

    def origins(self, paths: Collection[str], old: str | None, new: str) -> Mapping[str, Sequence[Revision]]:
        """Looked for in the last thousands of commits, merges by what they merged; the rest is left out."""
        if not paths:
            return {}
        span = f"{old}..{new}" if old and FULL_HASH.fullmatch(old) and not self.rewound(old, new) else new
        arguments = ["log", "-z", "--raw", "--no-renames", "--no-show-signature", "--encoding=UTF-8", HISTORY_FORMAT]
        try:
            output = self._mirror.run(*arguments, f"--max-count={_HISTORY}", span, "--")
        except GitFailed:
            return {}
        found: dict[str, list[Revision]] = {}
        for revision, names in history_from(self.name, output):
            for path in names:
                found.setdefault(path, []).append(revision)
        return self._signers.sign_all({path: found[path] for path in paths if path in found})

    def versions(self, path: str, revisions: Sequence[Revision]) -> Sequence[bytes]:
        """None of them is larger than a definition file may be."""
        if printable(path) != path:
            return ()
        names = [f"{each.commit}:{path}" for each in revisions]
        try:
            found = blobs_from(repeat(path), self._mirror.run("cat-file", "--batch-check", lines=names))
            return self._contents(list(takewhile(_is_small, found)))
        except (GitFailed, Garbled):
            return ()

    def uncommitted(self) -> tuple[str, ...]:
        """Our files in the work tree that differ from its HEAD, new and deleted ones too; () for a bare repository."""
        return uncommitted(self._mirror, self._location.folder, self._path)

    def watch_paths(self) -> tuple[Path, ...]:
        """The refs of the repository; never the work tree."""
        return ref_paths(self._mirror, self._location.folder)

    def close(self) -> None:
        """Forget what was seen; no process or file is held between calls, and the mirror stays for the next start."""
        self._seen = None

    def _prepare(self) -> None:
        if not self._prepared:
            self._mirror.prepare()
            self._prepared = True

    def _resolve(self) -> tuple[str, str]:
        """The full name of what is followed and its hash, as the repository says now."""
        if self._commit:
            return self._commit, self._commit
        names = self._refs or ("HEAD",)
        try:
            found, branch = refs_from(self._mirror.run("ls-remote", "--symref", "--", self._location.url, *names))
        except GitFailed as error:
            raise SourceUnavailable(self._absence(error), f"{self._location.url}: {error}") from error
        name = next((name for name in names if name in found), None)
        if name is None:
            raise self._nothing_there(names)
        if name == "HEAD" and branch and not self._refs:
            name, self._refs, found[branch] = branch, (branch,), found[name]
        return name, found[name]

    def _absence(self, error: GitFailed) -> str:
        missing = not self._location.folder.exists() or "not appear to be a git repository" in error.text
        return "NotARepository" if missing else "FetchFailed"

    def _nothing_there(self, names: tuple[str, ...]) -> SourceUnavailable:
        if names == ("HEAD",):
            return SourceUnavailable("NoCommits", f"{self._location.url}: HEAD names no commit yet")
        text = f"{self._location.url} has no {' or '.join(names)}; `source.ref` (--ref) says what to follow"
        return SourceUnavailable("RefNotFound", text)

    def _fetched(self, ref: str, oid: str) -> Revision:
        if self._tip() != oid:
            self._fetch(ref)
            self._mirror.tidy()
        arguments = ["log", "-1", "--no-show-signature", "--no-color", "--encoding=UTF-8", LOG_FORMAT, _TIP, "--"]
        output = self._mirror.run(*arguments)
        if not output:
            raise SourceUnavailable("RefNotFound", f"{ref} of {self._location.url} names no commit")
        return revision_from(self.name, output)

    def _tip(self) -> str:
        """What the last whole fetch brought; git moves this ref only when everything behind it is there."""
        with suppress(GitFailed):
            return self._mirror.run("rev-parse", "--verify", "--quiet", _TIP).decode().strip()
        return ""

    def _fetch(self, ref: str) -> None:
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow"]
        self._mirror.run("fetch", *options, "--", self._location.url, f"+{ref}:{_TIP}")

    def _repaired(self, act: Callable[[], T]) -> T:
        """What `act` returns, tried again on a mirror made anew if git finds this one damaged."""
        try:
            result = act()
        except (GitFailed, Garbled) as error:
            try:
                self._make_anew(error)
                result = act()
            except (GitFailed, Garbled) as again:
                raise SourceUnavailable("FetchFailed", str(again)) from again
        self._suspect = False
        return result

    def _make_anew(self, error: GitFailed | Garbled) -> None:
        """Replace the mirror, at most one time between two successes: a repository that is at fault stays so."""
        if "not our ref" in str(error):
            raise SourceUnavailable("RefNotFound", f"{self._location.url}: {error}") from error
        ref, _ = self._resolve()  # raises if the repository is away, which is no reason to throw the mirror away
        if self._suspect or str(error).startswith("Timeout:"):
            raise error
        self._suspect = True
        self._mirror.make()
        self._fetch(ref)

    def _root(self, commit: str) -> str:
        return f"{commit}:{self._path}"

    def _listed(self, revision: Revision) -> Tree:
        asked = [revision.commit, self._root(revision.commit)]
        commit, root = self._mirror.run("cat-file", "--batch-check", lines=asked).splitlines()
        if commit.endswith(b" missing"):
            raise Garbled(f"the mirror lacks commit {revision.commit}")
        if b" tree " not in root:
            raise SourceUnavailable("PathVanished", f"there is no folder {self._path} at {revision.commit}")
        output = self._mirror.run("ls-tree", "-r", "-z", "--long", "--full-tree", asked[1])
        if not output and revision.trailer(ALLOW_PRUNE) is None:
            text = f"{revision.commit} has no files at all; if that is meant, say so with the trailer `Reconciler-Allow-Prune: <number of tasks>` in the commit (E-EMPTY-SET)"
            raise SourceUnavailable(EMPTY, text)
        accepted = accept(self._path, self._candidates(revision.commit, output))
        return Tree(revision, accepted.blobs, accepted.problems)

    def _candidates(self, commit: str, output: bytes) -> list[Blob]:
        """What `ls-tree` listed and could be a definition, without links that only lead to some other file."""
        known = self._entries  # most of what is listed was there before, and its record says all there is to say
        self._entries = {each: known[each] if each in known else _candidate(each) for each in entries_from(output)}
        entries = [entry for entry in self._entries.values() if entry]
        links = [entry.path for entry in entries if entry.mode == LINK_MODE and not is_definition(entry.path)]
        askable = [path for path in links if printable(path) == path]
        if not askable:
            return entries
        names = [f"{commit}:{below(self._path, path)}" for path in askable]
        answer = self._mirror.run("cat-file", "--batch-check", "--follow-symlinks", lines=names)
        harmless = {path for path, file in zip(askable, reaches_files(answer), strict=True) if file}
        return [entry for entry in entries if entry.path not in harmless]

    def _contents(self, blobs: Sequence[Blob]) -> list[bytes]:
        output = self._mirror.run("cat-file", "--batch", "--buffer", lines=(blob.oid for blob in blobs))
        return contents_from(output, blobs)

    def _as_they_were(self, commit: str, paths: Collection[str]) -> Iterator[Blob]:
        """The YAML files among `paths` at a commit; without an `oid` where there is none that may be read."""
        asked = sorted(path for path in paths if path.endswith((".yaml", ".yml")) and printable(path) == path)
        names = [f"{commit}:{path}" for path in asked]
        for blob in blobs_from(asked, self._mirror.run("cat-file", "--batch-check", lines=names)):
            yield blob if _is_small(blob) else Blob(blob.path, "", 0, blob.mode)

    def _descends(self, old: str, new: str) -> bool:
        self._prepare()
        try:
            self._mirror.run("merge-base", "--is-ancestor", old, new)
        except GitFailed:
            return False
        return True


def _is_small(blob: Blob) -> bool:
    return bool(blob.oid) and blob.size <= FILE_BYTES_LIMIT


def _candidate(record: bytes) -> Blob | None:
    entry = entry_from(record)
    return entry if is_candidate(entry) else None


def _batches(blobs: Sequence[Blob]) -> Iterator[list[Blob]]:
    batch: list[Blob] = []
    total = 0
    for blob in blobs:
        if batch and total + blob.size > _READ_BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(blob)
        total += blob.size
    if batch:
        yield batch
