"""Whether a revision may be put in force at all: what would take away too much waits for somebody who confirms it."""

from collections.abc import Collection
from dataclasses import dataclass

from definitions.library import Library
from definitions.revision import ALLOW_PRUNE, Revision
from state.records import Identity

FREE = 5
"""So many tasks may lose their file in one revision without a word."""
SHARE = 0.2
"""Beyond `FREE`: this share of the live tasks."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a revision is not put in force; what was in force stays."""

    reason: str
    message: str


def refusal(revision: Revision, library: Library, live: Collection[Identity], had: int) -> Refused | None:
    """None if `library` may replace what was in force: `had` definitions, and the tasks `live` that have a file."""
    allowed = _allowed(revision)
    if not library.definitions and not library.rejected and had and allowed is None:
        text = f"E-EMPTY-SET the revision has no definitions and {had} are in force"
        return Refused("EmptySet", f"{text}; to mean it, {_confirmation(revision, len(live))}")
    if library.rejected:
        return None  # such a revision removes nothing
    gone = sorted(identity for identity in live if library.task(*identity) is None)
    if len(gone) <= max(FREE, SHARE * len(live)) or (allowed is not None and allowed >= len(gone)):
        return None
    names = ", ".join("/".join(identity) for identity in gone[:3])
    text = f"the revision removes {len(gone)} of {len(live)} live tasks ({names}, …)"
    return Refused("PruneBlocked", f"{text}; to mean it, {_confirmation(revision, len(gone))}")


def _confirmation(revision: Revision, number: int) -> str:
    """What confirms that `number` tasks are to go; a folder has no commits."""
    if revision.commit.startswith("dir:"):
        return f"start the controller anew with `--allow-prune {number}`"
    return f"add the trailer `{ALLOW_PRUNE}: {number}` to a commit"


def _allowed(revision: Revision) -> int | None:
    value = revision.trailer(ALLOW_PRUNE)
    return int(value) if value and value.strip().isdecimal() and len(value) < 10 else None
