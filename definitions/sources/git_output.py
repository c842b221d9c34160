"""What the git command prints, as values.

People write commits, paths and links with any bytes in them, so nothing here trusts a line: fields are separated by NUL
or counted in bytes, texts are decoded with replacement, cut to a sane length and stripped of what could deceive a
terminal. Paths keep undecodable bytes as surrogates, for the rules of acceptance to refuse.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha1

from definitions.revision import Blob, Revision
from definitions.sources.acceptance import printable

LOG_FORMAT = "--format=%H%x00%an%x00%ae%x00%cn%x00%ct%x00%s%x00%(trailers:only,unfold)"
"""What `revision_from` reads, for `git log -1`."""

HISTORY_FORMAT = LOG_FORMAT + "%x00"
"""What `history_from` reads, for `git log -z --raw --no-renames`."""

_FIELDS = 7
_TEXT_LIMIT = 1_000
_TRAILERS_LIMIT = 100
_EPOCH = datetime.fromtimestamp(0, UTC)
_NOT_IN_TREE = (b"symlink", b"dangling", b"loop", b"notdir")


class Garbled(Exception):
    """Git's answer does not fit the question: the repository behind it is damaged."""


def revision_from(source: str, output: bytes) -> Revision:
    """The one revision that `git log` printed in LOG_FORMAT; a date beyond Python's calendar becomes 1970."""
    fields = output.decode("utf-8", "replace").split("\0", 6)
    commit, author, email, committer, seconds, subject, trailers = (*fields, *[""] * (7 - len(fields)))
    author, email, committer, subject = (_clean(each) for each in (author, email, committer, subject))
    at, pairs = _instant(seconds), _trailers(trailers)
    return Revision(source, commit, author, email, committer, subject, at, trailers=pairs)


def history_from(source: str, output: bytes) -> Iterator[tuple[Revision, list[str]]]:
    """The commits that `git log` printed in HISTORY_FORMAT, newest first, each with the paths that it changed.

    Each path follows a record that begins with a colon, which no commit's fields do, so no name of a file can deceive.
    """
    parts = output.split(b"\0")
    start = 0
    while start + _FIELDS < len(parts):
        revision = revision_from(source, b"\0".join(parts[start : start + _FIELDS]))
        end = start = start + _FIELDS
        while end < len(parts) and (not parts[end] or parts[end].lstrip(b"\n").startswith(b":")):
            end += 2 if parts[end] else 1
        records = [part for part in parts[start:end] if part]
        yield revision, [os.fsdecode(path) for path in records[1::2]]
        start = end


def refs_from(output: bytes) -> tuple[dict[str, str], str | None]:
    """Hashes by full name that `git ls-remote --symref` printed, and the branch that HEAD names, if it names one."""
    pairs = [line.split("\t", 1) for line in output.decode("utf-8", "replace").splitlines() if "\t" in line]
    heads = [left.removeprefix("ref: ") for left, name in pairs if name == "HEAD" and left.startswith("ref: ")]
    return {name: left for left, name in pairs if not left.startswith("ref: ")}, next(iter(heads), None)


def entries_from(output: bytes) -> list[bytes]:
    """The entries that `git ls-tree -r -z --long` printed (`--format` quotes paths even with -z), for `entry_from`."""
    return [record for record in output.split(b"\0") if record]


def entry_from(record: bytes) -> Blob:
    """One entry of `git ls-tree`; size 0 for what has none."""
    facts, _, path = record.partition(b"\t")
    mode, _, oid, size = facts.decode().split()
    return Blob(os.fsdecode(path), oid, int(size) if size.isdigit() else 0, mode)


def blobs_from(paths: Iterable[str], output: bytes) -> Iterator[Blob]:
    """The blobs that `git cat-file --batch-check` found when asked for `paths`; one without a name where none was."""
    for path, line in zip(paths, output.splitlines(), strict=False):
        words = line.decode("utf-8", "replace").split(" ")
        found = len(words) == 3 and words[1] == "blob"
        yield Blob(path, words[0] if found else "", int(words[2]) if found else 0, "100644")


def contents_from(output: bytes, blobs: Sequence[Blob]) -> list[bytes]:
    """The bytes of `blobs` from the output of `git cat-file --batch`; raises Garbled unless each has its hash."""
    contents, start = [], 0
    for blob in blobs:
        header = f"{blob.oid} blob {blob.size}\n".encode()
        if not output.startswith(header, start):
            raise Garbled(f"blob {blob.oid} of {printable(blob.path)} is missing or has another size")
        start += len(header)
        data = output[start : start + blob.size]
        if blob_hash(data) != blob.oid:
            raise Garbled(f"blob {blob.oid} of {printable(blob.path)} has other bytes")
        contents.append(data)
        start += blob.size + 1
    return contents


def blob_hash(data: bytes) -> str:
    """The name that Git gives these bytes."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def reaches_files(output: bytes) -> Iterator[bool]:
    """For each link asked of `git cat-file --batch-check --follow-symlinks`: does it end at a file of the tree?"""
    start = 0
    while start < len(output):
        line, _, _ = output[start:].partition(b"\n")
        start += len(line) + 1
        words = line.split(b" ")
        if words[0] in _NOT_IN_TREE and words[-1].isdigit():
            start += int(words[-1]) + 1
        yield words[1:2] == [b"blob"]


def paths_from(output: bytes) -> list[str]:
    """The paths of `git diff-tree -z --raw` without renames, where each follows its record of modes and hashes."""
    return [os.fsdecode(path) for path in output.split(b"\0")[1::2]]


def _clean(text: str) -> str:
    return printable(text[:_TEXT_LIMIT].strip())


def _trailers(text: str) -> tuple[tuple[str, str], ...]:
    lines = [line.partition(":") for line in text.split("\n", _TRAILERS_LIMIT)[:_TRAILERS_LIMIT]]
    return tuple((_clean(key), _clean(value)) for key, colon, value in lines if colon)


def _instant(seconds: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):  # git hash-object lets any number of seconds pass
        return _EPOCH
