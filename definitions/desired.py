"""What should run, or the plain statement that nobody can say at the moment: never something in between.

Whatever is missing from a Complete is gone; so a source that could not be read, or a revision that was refused, is
Unavailable, and then nothing is removed (design.md rule 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from definitions.definition import Identity
from definitions.library import Library
from definitions.revision import Revision


@dataclass(frozen=True, slots=True)
class Complete:
    """A revision with all that it says. `removes`: a task without a file here may be taken as removed."""

    revision: Revision
    library: Library
    removes: bool = True
    hold: bool = False  # adopt nothing that is introduced at or before this revision
    older: str = ""  # why what this revision introduces may have run before, although nothing recorded says so
    looked_at: datetime | None = None  # when a person decided about that: what comes to be later has not run before
    words: Mapping[tuple[str, str], Mapping[str, Revision]] = field(default_factory=dict)
    """By (namespace, name) of a task and part of its control: who asked for it, where that is not the last commit."""
    since: Mapping[str, frozenset[Identity]] = field(default_factory=dict)
    """By the commit that a `repin` names: the jobs and workflows that say something else since."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why there is no answer: a CamelCase reason for conditions and a text for people."""

    reason: str
    message: str


Desired = Complete | Unavailable
