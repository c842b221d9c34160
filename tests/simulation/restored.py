"""What an older database has forgotten, and the little that is forgiven because of it.

docs/reliability.md promises that after a restore each call is looked for at its target before it is sent. One thing it
does not promise: the attempt after a lost one starts without asking, also if it did so before the restore.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from state.records import TaskSnapshot, Uid


@dataclass(frozen=True, slots=True)
class Kept:
    """What was committed when a backup was taken, as the oracle knew it."""

    tasks: dict[Uid, TaskSnapshot]
    admitted: frozenset[Uid]
    gone: frozenset[Uid]
    lost: frozenset[str]
    rows: frozenset[str]

    @classmethod
    def of(
        cls,
        tasks: Mapping[Uid, TaskSnapshot],
        admitted: Collection[Uid],
        gone: Collection[Uid],
        lost: Collection[str],
        rows: Collection[str],
    ) -> "Kept":
        """A copy of what the oracle knows now."""
        return cls(dict(tasks), frozenset(admitted), frozenset(gone), frozenset(lost), frozenset(rows))

    def copies(self) -> tuple[dict[Uid, TaskSnapshot], set[Uid], set[Uid], set[str], set[str]]:
        """The same, to go on with."""
        return dict(self.tasks), set(self.admitted), set(self.gone), set(self.lost), set(self.rows)


@dataclass(frozen=True, slots=True)
class Past:
    """What had been carried out, and what lay about, before an older database was put in place: keys of calls."""

    executed: frozenset[str]
    objects: frozenset[str]

    def repeats(self, key: str, lost: Collection[str]) -> int:
        """How often the call may be carried out again: the first one behind a lost attempt starts without asking."""
        step, number, call = key.rsplit("/", 2)
        return int(key in self.executed and call == "1" and f"{step}/{int(number) - 1}" in lost)

    def ahead(self, key: str, number: int) -> bool:
        """Whether the call belongs to a later attempt than `number`, which the database does not know yet."""
        return key in self.executed and int(key.rsplit("/", 2)[1]) > number

    def forgotten(self, key: str, rows: Collection[str]) -> bool:
        """Whether nothing was recorded about the attempt of the call, so that nobody can clean up behind it."""
        return key in self.objects and key.rpartition("/")[0] not in rows


NOTHING = Past(frozenset(), frozenset())
