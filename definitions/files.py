"""What the bytes of one file say on their own, before anyone looks at the other files.

A file is parsed when its bytes are new and never again; what it needs from others is checked in `linking`. Files that
are not ours (no `apiVersion: reconciler/v…` in them) are left alone, whatever they hold.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from definitions.definition import Definition, Identity
from definitions.documents import Document, read
from definitions.findings import Finding
from definitions.problems import Problem
from definitions.revision import Blob, pointer_problem
from definitions.shape import is_ours, shape

_MARKER = re.compile(rb"""apiVersion["']?\s*:\s*["']?reconciler/v""")
_STARTS_WITHOUT_MAPPING = (b"[", b"&", b"*", b"!")
_NAMES = re.compile(r"""\bname["']?\s*:\s*["']?([^"'\s,}#][^"'\n,}#]*)""")


@dataclass(frozen=True, slots=True)
class Stub:
    """A document of ours: where it stands and what it calls itself, as far as it says so."""

    index: int
    kind: str
    namespace: str
    name: str

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
    """The file that `data` are, which came with `commit`."""
    pointer = pointer_problem(blob, data)
    if pointer is not None:
        return File(blob.path, blob.oid, problems=(pointer,))
    marked = _marked(data)
    if not marked and not _could_be_nothing_else(data):
        return File(blob.path, blob.oid)
    documents, problems = read(blob.path, data)
    ours = [document for document in documents if is_ours(document.value)]
    errors = [problem for problem in problems if not problem.warning]
    if not ours and not errors:
        return File(blob.path, blob.oid)
    names = _names(data) if errors else frozenset[str]()
    return _shaped(blob, commit, ours, problems, names)


def locate(blob: Blob, data: bytes, findings: Mapping[int, Sequence[Finding]]) -> list[Problem]:
    """The problems that `findings`, by document, are in these bytes."""
    documents = {document.index: document for document in read(blob.path, data)[0]}
    return [each.at(documents[index]) for index, found in findings.items() for each in found if index in documents]


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


def _could_be_nothing_else(data: bytes) -> bool:
    """Whether it starts as no document of any system does, so that an error in it is worth a word."""
    return data.lstrip().startswith(_STARTS_WITHOUT_MAPPING)


def _names(data: bytes) -> frozenset[str]:
    return frozenset(name.strip() for name in _NAMES.findall(data.decode("utf-8", "replace")))


def _stub(document: Document) -> Stub:
    value = document.value if isinstance(document.value, dict) else {}
    meta = value.get("metadata")
    named = meta if isinstance(meta, dict) else {}
    return Stub(
        document.index, _word(value.get("kind")), _word(named.get("namespace", "default")), _word(named.get("name"))
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
