"""All definitions of one revision: what is in force, what was rejected and why, and the program behind each name.

A library is a value. The next one is built from it and the files that changed, so a commit costs what it touches: bytes
that are known are neither read nor parsed again, and only what depends on a change is checked again. Where a file is
bad, its last good version stays in force; nothing else suffers from it (design.md, rule 3).
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from definitions.compile import compile_program
from definitions.definition import Definition, Identity
from definitions.files import File, Stub, locate, parse_file, shares
from definitions.linking import Link, Linking, names_used
from definitions.models import DRIVERS
from definitions.problems import Problem
from definitions.program import Program
from definitions.revision import Blob, SourceUnavailable, Tree
from definitions.units import Rejected

DEFINITIONS_LIMIT = 20_000

T = TypeVar("T")
Read = Callable[[Sequence[Blob]], Iterator[tuple[Blob, bytes]]]
Good = Mapping[str, Sequence[Definition]]


class Unresolved(LookupError):
    """There is no program behind a name: nothing is called that, or it waits for a rejected definition."""


@dataclass(frozen=True, slots=True)
class DocumentState:
    """One document as the read side shows it. `text` and `digest` are what is in force, "" if nothing is."""

    path: str
    index: int
    blob: str
    commit: str
    kind: str
    namespace: str
    name: str
    digest: str
    text: str
    accepted: bool
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)
class Library:
    """What a revision defines. Read it through the methods; the mappings are shared between libraries: never write.

    `parsed` counts the files parsed for this library, `changed` are the paths whose documents differ from before.
    """

    tree: Tree
    links: Mapping[Identity, Link]
    files: Mapping[str, File]
    standing: Mapping[str, tuple[Link, ...]]  # path -> what of it is in force
    located: Mapping[str, tuple[Problem, ...]]  # path -> problems and warnings, sorted
    interest: Mapping[Identity, frozenset[str]]  # who defines or names it
    parsed: int = 0
    changed: frozenset[str] = frozenset()
    _programs: dict[Identity, Program] = field(default_factory=dict, repr=False)

    @cached_property
    def definitions(self) -> Mapping[Identity, Definition]:
        """Everything in force by (kind, namespace, name)."""
        return {identity: link.definition for identity, link in self.links.items()}

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem and warning, sorted by file and place."""
        return tuple(sorted(each for found in self.located.values() for each in found))

    @cached_property
    def rejected(self) -> Mapping[str, tuple[Problem, ...]]:
        """The errors of each file that is not in force as it stands."""
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            if not problem.warning:
                found.setdefault(problem.file, []).append(problem)
        return {path: tuple(problems) for path, problems in found.items()}

    def resolve(self, kind: str, namespace: str, name: str) -> Definition | None:
        """What `name` means in `namespace`: looked up there, then in `default`."""
        link = self._link(kind, namespace, name)
        return link.definition if link is not None else None

    def program(self, kind: str, namespace: str, name: str) -> Program:
        """The program behind a Job or Workflow, compiled when first asked for. Raises Unresolved."""
        link = self._link(kind, namespace, name)
        if link is None or link.blocked:
            raise Unresolved(link.blocked if link is not None else f"there is no {kind.lower()} `{name}`")
        identity = link.definition.identity
        if identity not in self._programs:
            self._programs[identity] = _compile(link.closure)
        return self._programs[identity]

    def closure(self, kind: str, namespace: str, name: str) -> tuple[Definition, ...]:
        """The definition, then everything that it uses: what a task pins. Raises Unresolved."""
        link = self._link(kind, namespace, name)
        if link is None or not link.closure:
            raise Unresolved(f"there is no {kind.lower()} `{name}`")
        return link.closure

    def tasks(self) -> tuple[Definition, ...]:
        """The task files in force, those that only control a trigger's task included."""
        return self._kind("Task")

    def triggers(self) -> tuple[Definition, ...]:
        """The triggers in force."""
        return self._kind("Trigger")

    def task(self, namespace: str, name: str) -> Definition | None:
        """The task file in force with this identity."""
        link = self.links.get(("Task", namespace, name))
        return link.definition if link is not None else None

    def trigger(self, namespace: str, name: str) -> Definition | None:
        """The trigger in force with this identity."""
        link = self.links.get(("Trigger", namespace, name))
        return link.definition if link is not None else None

    def unresolved(self, task: Definition) -> str | None:
        """Why what a task or trigger in force runs is not to be had now (state DefinitionRejected); None if it is."""
        own = self.links.get(task.identity, Link(task))
        asked = (task, *own.closure[1:2])  # what it runs may have gone, or wait, since it was linked
        found = ((self.links.get(each.identity), f"there is no {each.kind.lower()} `{each.name}`") for each in asked)
        return next(filter(None, (link.blocked if link else gone for link, gone in found)), None)

    def documents(self, paths: Iterable[str] | None = None) -> Iterator[DocumentState]:
        """The documents of these files, or of all; a rejected file shows what of it is still in force."""
        for path in sorted(self.files if paths is None else set(paths)):
            yield from self._documents(path)

    def _documents(self, path: str) -> Iterator[DocumentState]:
        problems, links = self.located.get(path, ()), self.standing.get(path, ())
        accepted = all(problem.warning for problem in problems)
        file = self.files.get(path)
        known = {link.definition.identity for link in links}
        stubs = [stub for stub in file.stubs if stub.identity not in known] if file and not accepted else []
        if not stubs and not links:
            stubs = [Stub(0, "", "", "")] if file and not accepted else []
        told = shares(file.stubs if file else (), [*(link.definition.identity for link in links), *stubs], problems)
        for link, own in zip(links, told, strict=False):
            yield _in_force(link.definition, own, accepted=accepted)
        start = max((link.definition.index + 1 for link in links), default=0)
        for index, (stub, own) in enumerate(zip(stubs, told[len(links) :], strict=True), start):
            words = (stub.kind, stub.namespace, stub.name)
            commit, oid = self.tree.revision.commit, self.files[path].oid
            yield DocumentState(path, index, oid, commit, *words, "", "", accepted=False, problems=own)

    def _kind(self, kind: str) -> tuple[Definition, ...]:
        return tuple(link.definition for identity, link in self.links.items() if identity[0] == kind)

    def _link(self, kind: str, namespace: str, name: str) -> Link | None:
        return self.links.get((kind, namespace, name)) or self.links.get((kind, "default", name))


def build(
    tree: Tree,
    read: Read,
    previous: Library | None = None,
    good: Good | None = None,
    drivers: frozenset[str] = frozenset(DRIVERS),
) -> Library:
    """The library of `tree`, whose files `read` reads.

    `previous` is the library before it; without one, `good` may hold the last good definitions of each path as a
    database remembers them. `drivers` are those that this version has. Raises SourceUnavailable beyond 20,000
    definitions.
    """
    with _uncollected():
        return _build(tree, read, previous, good or {}, drivers)


def _build(tree: Tree, read: Read, previous: Library | None, good: Good, drivers: frozenset[str]) -> Library:
    files, parsed = _files(tree, read, previous, good)
    touched = _touched(files, previous)
    interest = _interest(files, touched, previous)
    affected = _affected(touched, files, interest, previous)
    linking = _linking(files, affected, previous, good, drivers)
    linking.settle()
    again = affected | touched
    standing = _without(previous.standing if previous else {}, again) | linking.links
    links = dict(linking.stable)
    links.update((link.definition.identity, link) for found in linking.links.values() for link in found)
    located = _without(previous.located if previous else {}, again) | _located(tree, read, linking, affected)
    return Library(tree, links, files, standing, located, interest, parsed, again)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Many values are made here and none of them in cycles, so looking for garbage would only cost time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def program_of(pins: Sequence[tuple[str, str, str, str, str]]) -> Program:
    """The program of pinned texts: (kind, namespace, name, text, path), the target first. Raises ValueError."""
    return _compile([Definition.from_text(*pin) for pin in pins])


def _compile(closure: Sequence[Definition]) -> Program:
    known = {definition.identity: definition for definition in closure}

    def find(kind: str, namespace: str, name: str) -> Definition | Rejected | None:
        return known.get((kind, namespace, name)) or known.get((kind, "default", name))

    compiled = compile_program(closure[0], find)
    if compiled.program is None:
        raise Unresolved("; ".join(f"{each.code} {each.message}" for each in compiled.findings))
    return compiled.program


def _files(tree: Tree, read: Read, previous: Library | None, good: Good) -> tuple[dict[str, File], int]:
    """Each file of the tree, the unchanged ones as they were, and how many were parsed."""
    known = previous.files if previous else {}
    files: dict[str, File] = {}
    fresh: list[Blob] = []
    for path, blob in tree.blobs.items():
        file = known.get(path)
        if file is not None and file.oid == blob.oid:
            files[path] = file
        else:
            fresh.append(blob)
    files |= _refused(tree, known)
    count = sum(len(file.stubs) for file in files.values()) if fresh else 0
    for blob, data in read(fresh) if fresh else ():
        file = parse_file(blob, data, _commit_of(blob, tree, good))
        count += len(file.stubs)
        if count > DEFINITIONS_LIMIT:
            raise SourceUnavailable("TooManyDefinitions", f"E-COUNT: more than {DEFINITIONS_LIMIT} definitions")
        files[blob.path] = file
    return files, len(fresh)


def _refused(tree: Tree, known: Mapping[str, File]) -> dict[str, File]:
    """The files that the source did not accept, each with its problem."""
    refused: dict[str, File] = {}
    for problem in tree.problems:
        file = File(problem.file, "", problems=(problem,))
        same = known.get(problem.file, file)
        refused[problem.file] = same if same.problems == file.problems else file
    return refused


def _commit_of(blob: Blob, tree: Tree, good: Good) -> str:
    """The commit that brought the bytes, as far back as it is known."""
    same = (definition.commit for definition in good.get(blob.path, ()) if definition.blob == blob.oid)
    return next(same, tree.origin(blob.path).commit)


def _touched(files: Mapping[str, File], previous: Library | None) -> frozenset[str]:
    """The paths whose bytes are new or gone."""
    before = previous.files if previous else {}
    new = {path for path, file in files.items() if before.get(path) is not file}
    return frozenset(new | (before.keys() - files.keys()))


def _identities(file: File | None) -> set[Identity]:
    """What a file defines or names."""
    if file is None:
        return set()
    named = {identity for definition in file.definitions for identity in names_used(definition)}
    return named | {stub.identity for stub in file.stubs}


def _interest(
    files: Mapping[str, File], touched: Iterable[str], previous: Library | None
) -> dict[Identity, frozenset[str]]:
    if previous is None:
        return _first_interest(files)
    interest = dict(previous.interest)
    for path in touched:
        old, new = _identities(previous.files.get(path)), _identities(files.get(path))
        for identity in old - new:
            interest[identity] = interest.get(identity, frozenset()) - {path}
        for identity in new - old:
            interest[identity] = interest.get(identity, frozenset()) | {path}
    return interest


def _first_interest(files: Mapping[str, File]) -> dict[Identity, frozenset[str]]:
    gathered: dict[Identity, set[str]] = {}
    for path, file in files.items():
        for identity in _identities(file):
            gathered.setdefault(identity, set()).add(path)
    return {identity: frozenset(paths) for identity, paths in gathered.items()}


def _affected(
    touched: frozenset[str],
    files: Mapping[str, File],
    interest: Mapping[Identity, frozenset[str]],
    previous: Library | None,
) -> frozenset[str]:
    """The touched files, and all files whose meaning may change with them."""
    if previous is None:
        return frozenset(files)
    affected = set(touched)
    names = _names(files, touched).keys() | _names(previous.files, touched).keys()
    if names:
        affected |= {path for identity, paths in interest.items() if identity[2] in names for path in paths}
    waiting = set(affected)
    while waiting:
        declared = {identity for path in waiting for identity in _declared(path, files, previous)}
        users = {path for identity in declared for path in interest.get(identity, frozenset())}
        waiting = users - affected
        affected |= users
    return frozenset(affected & files.keys())


def _declared(path: str, files: Mapping[str, File], previous: Library) -> set[Identity]:
    """What a path defines now, defined before, or has in force."""
    sources = (files.get(path), previous.files.get(path))
    declared = {stub.identity for file in sources if file is not None for stub in file.stubs}
    return declared | {link.definition.identity for link in previous.standing.get(path, ())}


def _names(files: Mapping[str, File], paths: Iterable[str]) -> dict[str, str]:
    """Names that unreadable files may define, with the first error of the file."""
    found = ((name, str(file.problems[0])) for path in paths if (file := files.get(path)) for name in file.names)
    return dict(found)


def _linking(
    files: Mapping[str, File],
    affected: frozenset[str],
    previous: Library | None,
    good: Good,
    drivers: frozenset[str],
) -> Linking:
    standing = previous.standing if previous else {}
    stable = dict(previous.links) if previous else {}
    for path in affected | (standing.keys() - files.keys()):
        for link in standing.get(path, ()):
            del stable[link.definition.identity]
    return Linking(
        files={path: files[path] for path in sorted(affected)},
        stable=stable,
        before={path: standing[path] for path in affected if path in standing},
        kept=good if previous is None else {},
        broken=_broken(files, affected, previous),
        names=_names(files, affected | previous.located.keys() if previous else files),
        drivers=drivers,
    )


def _broken(files: Mapping[str, File], affected: frozenset[str], previous: Library | None) -> dict[Identity, str]:
    """What the rejected files that stay as they are declare, and why they are rejected."""
    located = previous.located if previous else {}
    found: dict[Identity, str] = {}
    for path, problems in located.items():
        error = next((problem for problem in problems if not problem.warning), None)
        if error is not None and path not in affected and path in files:
            found.update((stub.identity, str(error)) for stub in files[path].stubs)
    return found


def _located(tree: Tree, read: Read, linking: Linking, affected: Iterable[str]) -> dict[str, tuple[Problem, ...]]:
    """The problems of the settled files; those with findings are read again to say where they stand."""
    found = {path: list(linking.files[path].problems) for path in affected}
    blobs = [tree.blobs[path] for path in sorted(linking.findings) if linking.findings[path]]
    for blob, data in read(blobs) if blobs else ():
        found[blob.path] += locate(blob, data, linking.findings[blob.path])
    return {path: tuple(sorted(set(problems))) for path, problems in found.items() if problems}


def _without(mapping: Mapping[str, T], paths: Iterable[str]) -> dict[str, T]:
    kept = dict(mapping)
    for path in paths:
        kept.pop(path, None)
    return kept


def _in_force(definition: Definition, problems: tuple[Problem, ...], *, accepted: bool) -> DocumentState:
    return DocumentState(
        path=definition.path,
        index=definition.index,
        blob=definition.blob,
        commit=definition.commit,
        kind=definition.kind,
        namespace=definition.namespace,
        name=definition.name,
        digest=definition.digest,
        text=definition.text,
        accepted=accepted,
        problems=problems,
    )
