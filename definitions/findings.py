"""A finding is a problem that does not know its file yet: a path in the document, a code and a sentence.

The checks work on values, not on files; what they find becomes a Problem with line and column where the document is at
hand. Codes are collected here in one shape so that no check ever raises past the document it looks at.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from definitions.documents import Document, Path
from definitions.problems import Problem

MAX_CANDIDATES = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at `path` of a document; `on_key`: the key itself is what is wrong."""

    path: Path
    code: str
    message: str
    on_key: bool = False

    @property
    def warning(self) -> bool:
        """True if the document stays usable."""
        return self.code.startswith("W-")

    def at(self, document: Document) -> Problem:
        """The same with file, line and column."""
        position = document.key_position(self.path) if self.on_key else document.position(self.path)
        return Problem(document.file, position.line, position.column, self.code, self.message)


@dataclass(slots=True)
class Report:
    """Findings while they are made."""

    found: list[Finding] = field(default_factory=list)

    def add(self, path: Path, code: str, message: str, *, on_key: bool = False) -> None:
        """Note one finding."""
        self.found.append(Finding(path, code, message, on_key))

    @property
    def errors(self) -> bool:
        """Whether anything was found that rejects the document."""
        return any(not each.warning for each in self.found)


def unforeseen(error: Exception) -> str:
    """What E-INTERNAL says about an exception that no check foresaw."""
    return f"a fault of reconciler, not of this file; please report it: {type(error).__name__}: {error!s:.200}"


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest of the first few hundred candidates, or nothing."""
    near = difflib.get_close_matches(name[:100], list(islice(candidates, MAX_CANDIDATES)), 1, 0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def listing(names: Iterable[str]) -> str:
    """The first few names for a message, `none` if there are none."""
    shown = [f"`{name}`" for name in islice(names, 11)]
    return ", ".join([*shown[:10], "…"] if len(shown) > 10 else shown) or "none"
