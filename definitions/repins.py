"""What has changed since the commits that tasks name to continue with: asked of the source, because a plan asks nobody.

A file changes when anything in it does, also the task that names the commit; so the definitions are compared, each with
what it said there.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

from definitions.definition import Definition, Identity
from definitions.files import parse_file
from definitions.library import Library
from definitions.models import Task
from definitions.revision import Blob, Source

MOST = 200
"""So many different commits are looked up for one revision."""
FILES = 500
"""So many files are read for all of them; definitions in others that have changed count as changed."""


def repinned_tasks(library: Library) -> list[Definition]:
    """The task files in force that ask for the definitions of some commit."""
    return [each for each in library.tasks() if cast("Task", each.model).control.repin]


def changed_since(source: Source, library: Library) -> dict[str, frozenset[Identity]]:
    """By the commit that a task names: the jobs and workflows in force that do not say what they said there.

    Where they stand does not matter. Unknown commits are left out. Raises SourceUnavailable.
    """
    names = dict.fromkeys(str(cast("Task", each.model).control.repin) for each in repinned_tasks(library))
    found = {name: source.since(name, library.tree.revision.commit) for name in list(names)[:MOST]}
    known = {name: blobs for name, blobs in found.items() if blobs is not None}
    asked = ((name, blob) for name, blobs in known.items() for blob in _telling(blobs, library))
    read = list(islice(asked, FILES))
    then: dict[str, list[Definition]] = {name: [] for name in known}
    for (name, _), definitions in zip(read, _definitions(source, [blob for _, blob in read]), strict=True):
        then[name] += definitions
    return {name: frozenset(_differing(library, known[name], then[name])) for name in known}


def _telling(blobs: Mapping[str, Blob], library: Library) -> Iterator[Blob]:
    """The files there were that may tell: what of them is in force runs something, or they are gone."""
    for path, blob in blobs.items():
        if blob.oid and (path not in library.tree.blobs or any(_programs(library, path))):
            yield blob


def _programs(library: Library, path: str) -> Iterator[Definition]:
    links = library.standing.get(path, ())
    return (link.definition for link in links if link.definition.kind in {"Job", "Workflow"})


def _definitions(source: Source, blobs: Sequence[Blob]) -> Iterator[Sequence[Definition]]:
    """What each of these files defined; nothing where it was rejected as it stood."""
    for blob, data in source.read(blobs) if blobs else ():
        file = parse_file(blob, data, "")
        yield () if file.broken else file.definitions


def _differing(library: Library, blobs: Mapping[str, Blob], then: Sequence[Definition]) -> Iterator[Identity]:
    said = {each.identity: each.digest for each in then}
    for path in blobs:
        yield from (each.identity for each in _programs(library, path) if said.get(each.identity) != each.digest)
