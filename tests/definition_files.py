"""Libraries from texts: a tree and its reader without a repository, and the problems as `file:line:column code`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from definitions.library import Library, build
from definitions.problems import Problem
from definitions.revision import Blob, Revision, Tree

IMPLEMENTED = frozenset({"http", "process", "container"})
JOB = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: NAME}
spec:
  params: {name: string}
  http: {url: http://127.0.0.1:9999/x, query: {name: "${{ params.name }}"}}
  outputs: {age: result.age}
"""
GOOD = JOB.replace("NAME", "good")


def job(name: str) -> str:
    """A sound job called `name`: it needs the parameter `name` and declares the output `age`."""
    return JOB.replace("NAME", name)


def task(name: str, spec: str, namespace: str = "demo") -> str:
    return (
        f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )


def workflow(steps: str, extra: str = "", name: str = "flow") -> str:
    """A workflow with the parameter `name` (default x); the lines of `steps` stand four spaces in."""
    lines = "\n".join(f"    {line}" for line in steps.strip("\n").splitlines())
    return (
        f"apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {{name: {name}}}\nspec:\n"
        f"  params: {{name: {{type: string, default: x}}}}\n{extra}  steps:\n{lines}\n"
    )


class Shelf:
    """Files in memory that become one library after the other, and how many of them were read."""

    def __init__(self, **settings: Any) -> None:
        self.files: dict[str, bytes] = {}
        self.refused: tuple[Problem, ...] = ()
        self.library: Library | None = None
        self.read_paths: list[str] = []
        self._settings = {"drivers": IMPLEMENTED, **settings}
        self.history: list[dict[str, bytes]] = []

    def put(self, **files: str | bytes | None) -> Library:
        """Commit these files (`api1` is api1.yaml; None removes one) and build the next library."""
        return self.commit({f"{name}.yaml": text for name, text in files.items()})

    def commit(self, files: Mapping[str, str | bytes | None]) -> Library:
        for path, text in files.items():
            if text is None:
                del self.files[path]
            else:
                self.files[path] = text.encode() if isinstance(text, str) else text
        self.history.append(dict(self.files))
        self.library = build(self.tree(), self.read, self.library, **self._settings)
        return self.library

    def tree(self) -> Tree:
        at = datetime(2026, 11, 22, tzinfo=UTC)
        revision = Revision("main", f"c{len(self.history)}", "Ada", "ada@example.org", "Ada", "a change", at)
        blobs = {path: _blob(path, data) for path, data in sorted(self.files.items())}
        return Tree(revision, blobs, self.refused)

    def read(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
        for blob in blobs:
            self.read_paths.append(blob.path)
            versions = (files[blob.path] for files in reversed([*self.history, self.files]) if blob.path in files)
            yield blob, next(data for data in versions if _blob(blob.path, data).oid == blob.oid)

    def since(self, name: str, new: str) -> Mapping[str, Blob] | None:
        """As a source answers; the first commit is called 0000001 there, and only the last one can be `new`."""
        assert new == f"c{len(self.history)}"
        if not name.isdigit() or not 0 < int(name) <= len(self.history):
            return None
        then, now = self.history[int(name) - 1], self.history[-1]
        paths = [path for path in then.keys() | now.keys() if then.get(path) != now.get(path)]
        return {path: _blob(path, then[path]) if path in then else Blob(path, "", 0, "") for path in sorted(paths)}


def _blob(path: str, data: bytes) -> Blob:
    return Blob(path, hashlib.sha1(data, usedforsecurity=False).hexdigest(), len(data), "100644")


def problems(**files: str | bytes) -> list[str]:
    """What is wrong with these files beside the sound job `good`, as `file:line:column code`."""
    return [f"{each.file}:{each.line}:{each.column} {each.code}" for each in found(**files)]


def found(**files: str | bytes) -> tuple[Problem, ...]:
    """The problems of these files beside the sound job `good`, which must not suffer from them."""
    library = Shelf().put(**{"good": GOOD, **files})
    assert ("Job", "default", "good") in library.links
    return library.problems


def only(**files: str | bytes) -> Problem:
    """The one problem of these files, beside what only a later version runs."""
    (problem,) = [each for each in found(**files) if each.code != "W-LATER"]
    return problem
