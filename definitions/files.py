"""What the bytes of one file say on their own, before anyone looks at the other files.

A file is parsed when its bytes are new and never again; what it needs from others is checked in `linking`. Files that
are not ours (no `apiVersion: reconciler/v…` in them) are left alone, whatever they hold.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from definitions.definition import Definition, Identity
from definitions.documents import MAX_PROBLEMS, Document, read
from definitions.findings import Finding, unforeseen
from definitions.problems import Problem
from definitions.revision import Blob, pointer_problem
from definitions.shape import VERSION, is_ours, is_stray, shape

_MARKER = re.compile(rb"""apiVersion["']?\s*:\s*["']?reconciler/v""")
_KIND = re.compile(rb"""\bkind["']?\s*:\s*["']?(?:Job|Workflow|Task|Trigger)\b""")
_STARTS_WITHOUT_MAPPING = (b"[", b"&", b"*", b"!")
_NAMES = re.compile(r"""\bname["']?\s*:\s*["']?([^"'\s,}#][^"'\n,}#]*)""")


@dataclass(frozen=True, slots=True)
class Stub:
    """A document of ours: where it stands and what it calls itself, as far as it says so."""

    index: int
    kind: str
    namespace: str
    name: str
    line: int = 1

    @property
    def identity(self) -> Identity:
        """(kind, namespace, name)."""
        return (self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """One parsed file: the definitions of right shape, every document of ours, and the problems of each on its own.

    `names` are what a file that could not be read to the end may define.
    """

    path: str
    oid: str
    definitions: tuple[Definition, ...] = ()
    stubs: tuple[Stub, ...] = ()
    problems: tuple[Problem, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def broken(self) -> bool:
        """Whether it is rejected whatever the other files say."""
        return any(not problem.warning for problem in self.problems)


def parse_file(blob: Blob, data: bytes, commit: str) -> File:
    """The file that `data` are, which came with `commit`. Never raises: what nobody foresaw rejects this file only."""
    try:
        return _parsed(blob, data, commit)
    except Exception as error:
        problem = Problem(blob.path, 1, 1, "E-INTERNAL", unforeseen(error))
        return File(blob.path, blob.oid, problems=(problem,), names=_names(data))


def _parsed(blob: Blob, data: bytes, commit: str) -> File:
    pointer = pointer_problem(blob, data)
    if pointer is not None:
        return File(blob.path, blob.oid, problems=(pointer,))
    marked = _marked(data)
    if not marked and not _could_be_nothing_else(data):
        return File(blob.path, blob.oid, problems=_strays(read(blob.path, data)[0]) if _may_stray(data) else ())
    documents, problems = read(blob.path, data)
    ours = [document for document in documents if is_ours(document.value)]
    errors = [problem for problem in problems if not problem.warning]
    strays = _strays(documents)
    if not ours and not errors:
        return File(blob.path, blob.oid, problems=strays)
    names = _names(data) if errors else frozenset[str]()
    return _shaped(blob, commit, ours, (*problems, *strays), names)


def _strays(documents: Iterable[Document]) -> tuple[Problem, ...]:
    """A warning for each document that was probably meant to be ours: one of our kinds, and no `apiVersion` of others."""
    message = f"this is left alone: a definition says `apiVersion: {VERSION}`"
    finding = Finding((), "W-NOT-OURS", message)
    return tuple(finding.at(each) for each in documents if is_stray(each.value))[:MAX_PROBLEMS]


def locate(blob: Blob, data: bytes, findings: Mapping[int, Sequence[Finding]]) -> list[Problem]:
    """The problems that `findings`, by document, are in these bytes."""
    documents = {document.index: document for document in read(blob.path, data)[0]}
    return [each.at(documents[index]) for index, found in findings.items() for each in found if index in documents]


def shares(
    stubs: Sequence[Stub], rows: Sequence[Stub | Identity], problems: Sequence[Problem]
) -> list[tuple[Problem, ...]]:
    """The problems of one file shared out to its `rows`, which are documents of it or what stays in force of it.

    A row has those from where its document starts to where the next one does; the first row has what belongs to none.
    A rejected row without any has the file's first error. No row has more than 50, so a file costs what it holds.
    """
    if not rows:
        return []
    places: dict[Stub | Identity, int] = {}
    for number, row in enumerate(rows):
        places.setdefault(row, number)
    owners = [places.get(stub, places.get(stub.identity, 0)) for stub in stubs]
    starts = [stub.line for stub in stubs]
    shared: list[list[Problem]] = [[] for _ in rows]
    for problem in problems:
        before = bisect_right(starts, problem.line)
        shared[owners[before - 1] if before else 0].append(problem)
    error = next((problem for problem in problems if not problem.warning), None)
    return [_shortened(own) if own or error is None else (error,) for own in shared]


def _shortened(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    last = problems[MAX_PROBLEMS]
    more = replace(last, code="W-MORE", message=f"and {len(problems) - MAX_PROBLEMS} more; `validate` lists them all")
    return (*problems[:MAX_PROBLEMS], more)


def _shaped(
    blob: Blob, commit: str, ours: Iterable[Document], problems: Iterable[Problem], names: frozenset[str]
) -> File:
    definitions: list[Definition] = []
    stubs: list[Stub] = []
    found = list(problems)
    for document in ours:
        shaped = shape(document.value)  # type: ignore[arg-type]  # a mapping, or it would not be ours
        stubs.append(_stub(document))
        if isinstance(shaped, tuple):
            found += [finding.at(document) for finding in shaped]
        else:
            definitions.append(Definition.of(shaped, document.value, blob.path, document.index, blob.oid, commit))
    return File(blob.path, blob.oid, tuple(definitions), tuple(stubs), tuple(sorted(found)), names)


def _marked(data: bytes) -> bool:
    """Whether one of our documents may be in it, also where it was written in another encoding."""
    if b"\0" in data[:4096]:
        data = data.replace(b"\0", b"")
    return b"reconciler/v" in data and _MARKER.search(data) is not None


def _may_stray(data: bytes) -> bool:
    """Whether it is worth parsing for strays: manifests of other systems have an `apiVersion` beside each `kind`."""
    kinds = len(_KIND.findall(data))
    return kinds > 0 and (b"reconciler" in data or data.count(b"apiVersion") < kinds)


def _could_be_nothing_else(data: bytes) -> bool:
    """Whether it starts as no document of any system does, so that an error in it is worth a word."""
    return data.lstrip().startswith(_STARTS_WITHOUT_MAPPING)


def _names(data: bytes) -> frozenset[str]:
    return frozenset(name.strip() for name in _NAMES.findall(data.decode("utf-8", "replace")))


def _stub(document: Document) -> Stub:
    value = document.value if isinstance(document.value, dict) else {}
    meta = value.get("metadata")
    named = meta if isinstance(meta, dict) else {}
    words = (_word(value.get("kind")), _word(named.get("namespace", "default")), _word(named.get("name")))
    return Stub(document.index, *words, document.position().line)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
