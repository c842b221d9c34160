"""What is wrong with a definition, and where.

A bad file is an answer, not a crash: every check of the definitions hands back problems as values, so one file's
mistakes never hide another file's. They print the way compilers do, so editors and pull-request annotations find them.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding. Codes that start with `E-` reject the document, those that start with `W-` only warn."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.code} {self.message}"

    @property
    def warning(self) -> bool:
        """True if the document stays usable."""
        return self.code.startswith("W-")

    def as_dict(self) -> dict[str, str | int]:
        """The fields by name, for JSON answers."""
        return asdict(self)
