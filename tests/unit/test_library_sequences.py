"""Whatever happened before, the same files end in the same library; and no document makes the checks raise."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.library import Library
from definitions.shape import VERSION, shape
from tests.definition_files import Shelf, job, task, workflow

GOOD = {
    "api": job("api"),
    "flow": workflow("a: {job: api, with: {name: x}}\nb: {job: late, with: {name: '${{ steps.a.age }}'}}"),
    "late": job("late"),
    "run": task("run", "workflow: flow"),
}
VARIANTS = {
    "api": [GOOD["api"], GOOD["api"].replace("params", "parms"), GOOD["api"].replace("name: string", "nom: string"), job("late"), "apiVersion: reconciler/v1\nkind: [", None],
    "flow": [GOOD["flow"], GOOD["flow"].replace("job: api", "job: nope"), workflow("a: {job: api, with: {name: x}}"), None],
    "late": [GOOD["late"], job("api"), None],
    "run": [GOOD["run"], GOOD["run"].replace("flow", "nope"), GOOD["run"] + "---\n" + GOOD["run"], None],
}  # fmt: skip
CHANGE = st.fixed_dictionaries({}, optional={name: st.sampled_from(texts) for name, texts in VARIANTS.items()})
KEYS = (
    "spec",
    "metadata",
    "control",
    "steps",
    "http",
    "params",
    "flow",
    "name",
    "url",
    "job",
    "with",
    "calls",
    "retry",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${{ a", "1s", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=30,
)


def put(shelf: Shelf, change: dict[str, str | None]) -> Library:
    known = {name: text for name, text in change.items() if text is not None or f"{name}.yaml" in shelf.files}
    return shelf.put(**known)


def in_force(library: Library) -> dict[Any, list[str]]:
    return {identity: [each.digest for each in link.closure] for identity, link in library.links.items()}


@settings(max_examples=60)
@given(st.lists(CHANGE, max_size=5))
def test_sound_files_end_in_the_same_library_whatever_was_before(changes: list[dict[str, str | None]]) -> None:
    shelf = Shelf()
    for change in changes:
        put(shelf, change)

    library = put(shelf, dict(GOOD))

    assert library.problems == ()
    assert in_force(library) == in_force(Shelf().put(**GOOD))


@settings(max_examples=60)
@given(st.lists(CHANGE, min_size=1, max_size=5))
def test_every_file_is_in_force_as_it_stands_or_has_a_problem(changes: list[dict[str, str | None]]) -> None:
    shelf = Shelf()
    for change in changes:
        library = put(shelf, change)
        for path, file in library.files.items():
            standing = {link.definition for link in library.standing[path]}
            assert standing == set(file.definitions) or path in library.rejected
        assert {link.definition.path for link in library.links.values()} <= library.files.keys()


@settings(max_examples=150)
@given(st.sampled_from(["Job", "Workflow", "Task", "Trigger", "Jbo"]), st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_no_document_makes_the_shape_raise(kind: str, rest: dict[str, Any]) -> None:
    found = shape({"apiVersion": VERSION, "kind": kind, **rest})

    assert not isinstance(found, tuple) or all(finding.code.startswith("E-") for finding in found)
