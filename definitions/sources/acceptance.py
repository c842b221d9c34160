"""Which files of a source may be definitions, decided from names, modes and sizes before a byte is read.

Repository content is untrusted: links and submodules could point out of it, names could fool the people who review
them, and sizes could exhaust memory. The rules are the same for Git and for folders, so they live here, without I/O.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from definitions.problems import Problem
from definitions.revision import FILE_BYTES_LIMIT, FILES_LIMIT, TOTAL_BYTES_LIMIT, Blob, SourceUnavailable

REGULAR_MODES = frozenset({"100644", "100755"})
LINK_MODE = "120000"
SUBMODULE_MODE = "160000"

_SUFFIXES = (".yaml", ".yml")
_DECEIVING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format (bidi, zero width), surrogate, separators


@dataclass(frozen=True, slots=True)
class Accepted:
    """The files that may be read, sorted by path, and one problem for each that may not."""

    blobs: dict[str, Blob]
    problems: tuple[Problem, ...]


def is_definition(path: str) -> bool:
    """Whether a file of this name (relative to the definitions path) is looked at: YAML, in no hidden folder."""
    return path.endswith(_SUFFIXES) and not _is_hidden(path)


def is_candidate(entry: Blob) -> bool:
    """Whether an entry, its path relative to the definitions path, is a definition or could hide some behind it."""
    if entry.mode in (LINK_MODE, SUBMODULE_MODE) or entry.path.rpartition("/")[2] == ".gitmodules":
        return not _is_hidden(entry.path)
    return is_definition(entry.path)


def printable(text: str) -> str:
    """`text` with every character that could deceive a terminal or a reader shown as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(each) if unicodedata.category(each) in _DECEIVING else each for each in text)


def accept(folder: str, entries: Iterable[Blob]) -> Accepted:
    """Sort candidates, their paths relative to `folder`, into blobs and problems with paths from the source's root.

    Raises SourceUnavailable (`TooManyFiles`, `TooManyBytes`) beyond the limits: half a revision is no revision.
    """
    blobs: dict[str, Blob] = {}
    problems: list[Problem] = []
    for found in entries:
        entry = Blob(below(folder, found.path), found.oid, found.size, found.mode) if folder else found
        problem = _refusal(entry)
        if problem is None:
            blobs[entry.path] = entry
        else:
            problems.append(problem)
    _check_limits(blobs, len(problems))
    for path in _colliding(blobs):
        del blobs[path]
        problems.append(_problem(path, "E-PATH", "another path differs from this one only by letter case"))
    return Accepted(dict(sorted(blobs.items())), tuple(sorted(problems)))


def below(folder: str, path: str) -> str:
    """`path` (relative to `folder`) as seen from the root of the source; `folder` is empty for the root."""
    return f"{folder}/{path}" if folder else path


def normal_folder(path: str) -> str:
    """A configured definitions path as a POSIX path from the root, empty for the root; raises SourceUnavailable."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or printable(path) != path:
        raise SourceUnavailable("BadPath", f"the path {printable(path)!r} must lie inside the source")
    return "" if str(pure) == "." else str(pure)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/")[:-1])


def _refusal(entry: Blob) -> Problem | None:
    if entry.mode == LINK_MODE:
        return _problem(entry.path, "E-FILE-MODE", "symbolic links are not followed; put the files themselves here")
    if entry.mode == SUBMODULE_MODE or entry.path.rpartition("/")[2] == ".gitmodules":
        return _problem(entry.path, "E-FILE-MODE", "submodules are not read; commit the definitions themselves")
    if entry.mode not in REGULAR_MODES:
        return _problem(entry.path, "E-FILE-MODE", f"not a regular file (mode {entry.mode})")
    if reason := _deceiving(entry.path):
        return _problem(entry.path, "E-PATH", reason)
    if entry.size > FILE_BYTES_LIMIT:
        return _problem(entry.path, "E-SIZE", f"{entry.size} bytes; a definition file has at most {FILE_BYTES_LIMIT}")
    return None


def _deceiving(path: str) -> str | None:
    if path.isascii() and path.isprintable():
        return None
    categories = {unicodedata.category(each) for each in path}
    if "Cs" in categories:
        return "the path is not valid UTF-8"
    if categories & _DECEIVING:
        return "the path has control, zero-width or bidirectional characters"
    if not unicodedata.is_normalized("NFC", path):
        return "the path is not in Unicode normal form C"
    return None


def _colliding(paths: Collection[str]) -> list[str]:
    if len({path.casefold() for path in paths}) == len(paths):
        return []
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[path.casefold()].append(path)
    return [path for group in groups.values() if len(group) > 1 for path in group]


def _check_limits(blobs: dict[str, Blob], refused: int) -> None:
    count = len(blobs) + refused
    if count > FILES_LIMIT:
        raise SourceUnavailable("TooManyFiles", f"E-COUNT: {count} definition files; the limit is {FILES_LIMIT}")
    total = sum(blob.size for blob in blobs.values())
    if total > TOTAL_BYTES_LIMIT:
        text = f"E-COUNT: {total} bytes of definition files; the limit is {TOTAL_BYTES_LIMIT}"
        raise SourceUnavailable("TooManyBytes", text)


def _problem(path: str, code: str, message: str) -> Problem:
    return Problem(printable(path), 1, 1, code, message)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
