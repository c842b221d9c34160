"""What was in force when the controller last wrote it down: the last good version of every file.

A file that is bad now stays in force by it, and so does everything while a source cannot be read at a start: nothing is
compared with it and nothing removed, but triggers go on (design.md, rule 3).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from definitions.definition import Definition
from definitions.library import Library, build
from definitions.linking import Link
from definitions.problems import Problem
from definitions.revision import Revision, Tree
from state.records import DefinitionRecord, SourceRecord

BRANCHES = "refs/heads/"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LastGood(Mapping[str, Sequence[Definition]]):
    """The last good definitions of each path, as the database remembers them; parsed only where one is asked for."""

    def __init__(self, rows: Iterable[DefinitionRecord]) -> None:
        self._rows: dict[str, list[DefinitionRecord]] = {}
        for row in rows:
            if row.text:
                self._rows.setdefault(row.path, []).append(row)

    def __getitem__(self, path: str) -> Sequence[Definition]:
        return tuple(found for row in self._rows[path] if (found := self._definition(row)))

    @staticmethod
    def _definition(row: DefinitionRecord) -> Definition | None:
        """What a row holds; None if another release kept it, whose definitions do not fit the models any more."""
        place = (row.path, row.index, row.blob, row.commit)
        try:
            return Definition.from_text(row.kind, row.namespace, row.name, row.text, *place)
        except ValueError:
            return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def branch_before(source: SourceRecord | None) -> str | None:
    """The branch that a repository's HEAD named when it was followed first: whoever switches branches in a work tree does
    not change what should run, also over a restart. None if something else was followed, or nothing.
    """
    return source.ref if source and source.ref.startswith(BRANCHES) else None


def remembered(source: SourceRecord, rows: Iterable[DefinitionRecord]) -> tuple[Revision, Library]:
    """The revision of `source` that is in force, and all that its rows remember of it."""
    people = (source.author, source.email, source.author, source.subject)
    revision = Revision(source.name, source.commit, *people, source.committed_at or source.activated_at or _LONG_AGO)
    rows = list(rows)
    good, origins = LastGood(rows), {row.path: _nameless(revision, row.commit) for row in rows}
    unread = tuple(Problem(path, 1, 1, "E-UNREAD", "the source could not be read yet") for path in good)
    return revision, build(Tree(revision, {}, unread, origins), lambda _: iter(()), good=good)


def keeping(library: Library, before: Library) -> Library:
    """`library`, which has rejected files and so removes nothing, with the triggers of `before` that it lacks.

    What such a trigger uses is in force with it, where nothing else has its name; where something else has, and that
    cannot run now, neither can the trigger.
    """
    gone = {key: link for key, link in before.links.items() if key[0] == "Trigger" and key not in library.links}
    used = dict.fromkeys(each.identity for link in gone.values() for each in link.closure)
    then = {key: before.links[key] for key in used if key in before.links}
    links = {**library.links, **{key: each for key, each in then.items() if _better(each, library.links.get(key))}}
    for key, link in gone.items():
        waits = (links[each.identity].blocked for each in link.closure if each.identity in links)
        links[key] = replace(links[key], blocked=next((why for why in waits if why), ""))
    return replace(library, links=links) if gone else library


def _better(before: Link, now: Link | None) -> bool:
    """Whether what was in force stays so: nothing has its name, or the same that only lacks what is gone now."""
    same = now is not None and now.definition.digest == before.definition.digest
    return now is None or (same and bool(now.blocked) and not before.blocked)


def somebody(tip: Revision, row: DefinitionRecord | None, tree: Tree) -> Revision:
    """What is left to say of a file of `tree` whose last change was not found: since when its bytes are known."""
    blob = tree.blobs.get(row.path) if row else None
    return _nameless(tip, row.commit if row and blob and blob.oid == row.blob else tip.commit)


def _nameless(revision: Revision, commit: str) -> Revision:
    return replace(revision, commit=commit, author="", email="", committer="", subject="", signer=None)
