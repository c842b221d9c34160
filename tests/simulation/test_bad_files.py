"""I8: a bad file changes no other definition's plan. Every decision of real histories is made twice, with and without it."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from definitions.desired import Complete
from definitions.library import build
from definitions.revision import Blob
from reconciler import follow, last_good, loop
from reconciler.plan.whole import plan
from tests.simulation.case import without
from tests.simulation.documents import NAMESPACE
from tests.simulation.generate import generate
from tests.simulation.play import play

HEAD = "apiVersion: reconciler/v1\nkind: %s\nmetadata: {name: %s, namespace: " + NAMESPACE + "}\n"
GET = "http: {url: 'http://target.example/get'}"
BAD = {
    "no YAML": HEAD % ("Workflow", "bad") + "spec: [\n",
    "no YAML, and the name of another": HEAD % ("Workflow", "flow0") + "spec: [\n",
    "an unknown key": HEAD % ("Job", "bad") + f"spec: {{{GET}, tags: [a]}}\n",
    "two drivers": HEAD % ("Job", "bad") + f"spec: {{{GET}, process: {{command: [a]}}}}\n",
    "a cycle": HEAD % ("Workflow", "bad")
    + f"spec: {{steps: {{a: {{needs: [b], {GET}}}, b: {{needs: [a], {GET}}}}}}}\n",
    "a workflow that is not there": HEAD % ("Task", "bad") + "spec: {workflow: nowhere}\n",
    "parameters that do not fit": HEAD % ("Task", "bad") + "spec: {workflow: flow0, with: {nothing: 1}}\n",
    "an alias": HEAD % ("Job", "bad") + "spec: &a {http: *a}\n",
    "another of the same name": HEAD % ("Workflow", "flow0") + f"spec: {{steps: {{a: {{{GET}}}}}}}\n",
    "another task of the same name": HEAD % ("Task", "t0") + "spec: {workflow: flow0}\ncontrol: {state: suspended}\n",
    "a good one behind a bad one": HEAD % ("Job", "bad")
    + "spec: {}\n---\n"
    + HEAD % ("Job", "good")
    + f"spec: {GET}\n",
}


@pytest.fixture
def reads(monkeypatch):
    """How each library was read, by its identity."""
    found = {}

    def recorded(tree, read, *others, **good):
        library = build(tree, read, *others, **good)
        found[id(library)] = (library, read)
        return library

    def kept(library, before):
        keeps = last_good.keeping(library, before)
        found[id(keeps)] = (keeps, found[id(library)][1])
        return keeps

    monkeypatch.setattr(follow, "build", recorded)
    monkeypatch.setattr(follow, "keeping", kept)
    monkeypatch.setattr(last_good, "build", recorded)
    return found


class Doubter:
    """Makes each plan a second time, over a revision that has a bad file more."""

    def __init__(self, reads):
        self.reads = reads
        self.compared: Counter[str] = Counter()
        self._spoiled = {}

    def plan(self, desired, observed, now):
        planned = plan(desired, observed, now)
        if isinstance(desired, Complete):
            for what in BAD if desired.library.files else ():  # beside no other file a second one of a name is none
                library = self._library(desired.library, what)
                again = plan(replace(desired, library=library), observed, now)
                assert again == planned, what
                self.compared[what] += bool(planned.actions)
        return planned

    def _library(self, library, what):
        if (id(library), what) not in self._spoiled:
            known, read = self.reads[id(library)]
            assert known is library
            bad = BAD[what].encode()
            name = f"{'az'[len(self._spoiled) % 2]}-bad.yaml"
            blob = Blob(name, hashlib.sha1(bad, usedforsecurity=False).hexdigest(), len(bad), "100644")
            tree = replace(library.tree, blobs={**library.tree.blobs, name: blob})

            def read_all(blobs):
                for each in blobs:
                    yield from [(each, bad)] if each is blob else read([each])

            spoiled = last_good.keeping(build(tree, read_all, library, None), library)
            assert name in spoiled.rejected, what
            self._spoiled[id(library), what] = spoiled
        return self._spoiled[id(library), what]


@pytest.mark.parametrize("part", range(4))
def test_a_bad_file_changes_no_decision_about_anything_else(part, reads, monkeypatch):
    doubter = Doubter(reads)
    monkeypatch.setattr(loop, "plan", doubter.plan)

    for case in map(generate, range(part * 5, part * 5 + 5)):
        assert play(without(case, faults=case.faults - {"bad_file"})).violation == ""

    assert set(doubter.compared) == set(BAD)
    assert min(doubter.compared.values()) > 20
