"""What is in force after each revision: rule 3 of the design, and a cost that follows the change."""

from collections.abc import Sequence

import pytest

from definitions.definition import Definition
from definitions.library import DEFINITIONS_LIMIT, DocumentState, Library, Unresolved, build
from definitions.problems import Problem
from definitions.revision import SourceUnavailable
from tests.definition_files import GOOD, IMPLEMENTED, Shelf, job, task, workflow

FLOW = workflow("a: {job: api, with: {name: x}}")
RUN = task("run", "workflow: flow")
BAD = job("api").replace("params", "parms")
RENAMED = job("api").replace("name: string", "nom: string").replace("params.name", "params.nom")


def names(library: Library) -> list[str]:
    return sorted(name for _, _, name in library.links)


def codes(library: Library) -> list[tuple[str, str]]:
    return [(problem.file, problem.code) for problem in library.problems]


def in_force(library: Library, name: str = "api") -> Definition:
    definition = library.resolve("Job", "default", name)
    assert definition is not None
    return definition


def waits(library: Library, name: str = "run") -> str | None:
    found = library.task("demo", name)
    assert found is not None
    return library.unresolved(found)


def test_a_name_means_the_own_namespace_first_and_then_default() -> None:
    own = job("api").replace("{name: api}", "{name: api, namespace: demo}")

    library = Shelf().put(shared=job("api"), own=own, other=job("other"))

    assert [library.resolve("Job", space, "api") for space in ("demo", "else")] == [
        library.definitions["Job", "demo", "api"],
        library.definitions["Job", "default", "api"],
    ]
    assert library.resolve("Job", "demo", "nope") is None


def test_a_closure_is_the_target_and_all_that_it_uses() -> None:
    library = Shelf().put(api=job("api"), flow=FLOW, run=RUN)

    assert [each.name for each in library.closure("Workflow", "demo", "flow")] == ["flow", "api"]
    assert library.program("Workflow", "demo", "flow") is library.program("Workflow", "demo", "flow")


def test_a_bad_file_keeps_its_last_good_version() -> None:
    shelf = Shelf()
    before = in_force(shelf.put(api=job("api"), flow=FLOW, run=RUN))

    library = shelf.put(api=BAD)

    assert in_force(library) is before
    assert codes(library) == [("api.yaml", "E-UNKNOWN-FIELD")]
    assert library.rejected.keys() == {"api.yaml"}
    assert waits(library) is None
    assert library.program("Workflow", "demo", "flow").nodes["a"].unit is not None


def test_a_repaired_file_is_in_force_again() -> None:
    shelf = Shelf()
    shelf.put(api=BAD, flow=FLOW, run=RUN)

    library = shelf.put(api=job("api"))

    assert codes(library) == []
    assert waits(library) is None


def test_a_task_of_a_rejected_definition_is_accepted_and_waits() -> None:
    library = Shelf().put(api=BAD, flow=FLOW, run=RUN)

    assert codes(library) == [("api.yaml", "E-UNKNOWN-FIELD")]
    assert "job `api` is rejected: api.yaml:5:3 E-UNKNOWN-FIELD" in (waits(library) or "")
    with pytest.raises(Unresolved, match="rejected"):
        library.program("Workflow", "demo", "flow")


def test_a_task_may_wait_for_a_file_that_cannot_even_be_read() -> None:
    library = Shelf().put(api=job("api") + "  oops: ]\n", run=task("run", "job: api, with: {name: x}"))

    assert codes(library) == [("api.yaml", "E-SYNTAX")]
    assert "may stand in a rejected file: api.yaml:8" in (waits(library) or "")


def test_a_task_that_names_what_exists_nowhere_is_rejected() -> None:
    library = Shelf().put(run=RUN)

    assert codes(library) == [("run.yaml", "E-REF")]
    assert library.tasks() == ()


def test_a_rejected_task_file_keeps_its_last_good_version() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)

    library = shelf.put(run=RUN.replace("workflow:", "workflw:"))

    assert [each.name for each in library.tasks()] == ["run"]
    assert waits(library) is None


def test_a_workflow_that_no_longer_fits_keeps_running_with_the_job_that_it_knew() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)

    library = shelf.put(api=RENAMED)

    assert [code for _, code in codes(library)] == ["E-PARAM", "E-PARAM"]
    assert library.rejected.keys() == {"flow.yaml"}
    pinned = library.closure("Workflow", "demo", "flow")[1]
    assert "name: string" in job("api") and '"name":"string"' in pinned.text
    assert '"nom":"string"' in in_force(library).text
    assert library.program("Workflow", "demo", "flow").params.keys() == {"name"}


def test_a_change_and_its_users_are_taken_together() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)

    library = shelf.put(api=RENAMED, flow=FLOW.replace("name: x}}", "nom: x}}"))

    assert codes(library) == []


def test_a_file_is_accepted_or_rejected_as_a_whole() -> None:
    shelf = Shelf()
    shelf.put(both=job("one") + "---\n" + job("two"))

    library = shelf.put(both=job("one").replace("/x", "/y") + "---\n" + job("two").replace("outputs", "outpts"))

    assert "/x" in in_force(library, "one").text
    assert "/x" in in_force(library, "two").text


def test_of_two_files_with_one_identity_the_one_in_force_stays() -> None:
    shelf = Shelf()
    shelf.put(b=job("api"))

    library = shelf.put(a=job("api").replace("/x", "/y"))

    assert codes(library) == [("a.yaml", "E-DUPLICATE")]
    assert "b.yaml (document 1)" in library.problems[0].message
    assert in_force(library).path == "b.yaml"


def test_on_a_first_load_both_of_two_files_with_one_identity_are_rejected() -> None:
    library = Shelf().put(a=job("api"), b=job("api"), flow=FLOW, run=RUN)

    assert codes(library) == [("a.yaml", "E-DUPLICATE"), ("b.yaml", "E-DUPLICATE")]
    assert "b.yaml" in library.problems[0].message and "a.yaml" in library.problems[1].message
    assert "rejected" in (waits(library) or "")


def test_when_one_of_two_files_goes_the_other_is_in_force() -> None:
    shelf = Shelf()
    shelf.put(a=job("api"), b=job("api"))

    library = shelf.put(a=None)

    assert codes(library) == []
    assert in_force(library).path == "b.yaml"


def test_two_documents_of_one_file_with_one_identity_reject_it() -> None:
    library = Shelf().put(a=job("api") + "---\n" + job("api"))

    assert codes(library) == [("a.yaml", "E-DUPLICATE")] * 2
    assert [problem.line for problem in library.problems] == [3, 11]


def test_definitions_may_move_and_swap_between_files() -> None:
    shelf = Shelf()
    shelf.put(a=job("x"), b=job("y"), c=job("z"))

    library = shelf.put(a=job("y"), b=job("x"), c=None, d=job("z"))

    assert codes(library) == []
    assert [in_force(library, name).path for name in "xyz"] == ["b.yaml", "a.yaml", "d.yaml"]


def test_a_name_does_not_move_out_of_a_file_that_is_rejected() -> None:
    shelf = Shelf()
    shelf.put(a=job("api"))

    library = shelf.put(a=job("other").replace("params", "parms"), b=job("api"))

    assert codes(library) == [("a.yaml", "E-UNKNOWN-FIELD"), ("b.yaml", "E-DUPLICATE")]
    assert in_force(library).path == "a.yaml"


def test_a_removed_file_takes_its_definitions_along() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)

    library = shelf.put(run=None)

    assert library.tasks() == ()
    assert names(library) == ["api", "flow"]


def test_a_file_that_the_source_refuses_keeps_its_last_good_version() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)

    shelf.refused = (Problem("api.yaml", 1, 1, "E-FILE-MODE", "symbolic links are not followed"),)
    library = shelf.put(api=None)

    assert codes(library) == [("api.yaml", "E-FILE-MODE")]
    assert in_force(library).path == "api.yaml"
    assert waits(library) is None


def test_yaml_that_is_not_ours_is_left_alone() -> None:
    foreign = "apiVersion: v1\nkind: ConfigMap\ndata: &anchor {a: *anchor, a: 1}\n"
    compose = "x-common: &common {restart: always}\nservices: {web: {<<: *common}}\n"

    library = Shelf().put(
        foreign=foreign,
        compose=compose,
        mixed=foreign.replace("&anchor {a: *anchor, a: 1}", "{}") + "---\n" + job("api"),
    )

    assert codes(library) == []
    assert names(library) == ["api"]


def test_only_changed_bytes_are_read_and_parsed() -> None:
    shelf = Shelf()
    first = shelf.put(api=job("api"), flow=FLOW, run=RUN)
    shelf.read_paths.clear()

    same = shelf.put()
    changed = shelf.put(run=RUN.replace("}\n", "}\n\n"))

    assert (first.parsed, same.parsed, changed.parsed) == (3, 0, 1)
    assert shelf.read_paths == ["run.yaml"]
    assert not same.changed
    assert changed.changed == {"run.yaml"}


def test_unchanged_bytes_keep_the_commit_that_brought_them() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), other=job("other"))

    library = shelf.put(other=job("other").replace("/x", "/y"))

    assert [in_force(library, name).commit for name in ("api", "other")] == ["c1", "c2"]


def test_only_what_depends_on_a_change_is_settled_again() -> None:
    shelf = Shelf()
    shelf.put(
        api=job("api"), other=job("other"), flow=FLOW, run=RUN, alone=task("alone", "job: other, with: {name: x}")
    )

    library = shelf.put(api=job("api").replace("/x", "/y"))

    assert library.changed == {"api.yaml", "flow.yaml", "run.yaml"}


def test_building_step_by_step_ends_where_one_build_ends() -> None:
    steps: Sequence[dict[str, str | None]] = [
        {"api": job("api"), "flow": FLOW, "run": RUN},
        {"other": job("other"), "flow": FLOW + "  title: Flow\n"},
        {"api": job("api").replace("/x", "/y"), "other": None},
        {"late": task("late", "job: api, with: {name: x}")},
    ]
    shelf = Shelf()
    for files in steps:
        grown = shelf.put(**files)
    fresh = Shelf()
    fresh.files = dict(shelf.files)

    whole = fresh.put()

    assert grown.definitions.keys() == whole.definitions.keys()
    assert [each.digest for each in grown.closure("Workflow", "demo", "flow")] == [
        each.digest for each in whole.closure("Workflow", "demo", "flow")
    ]
    assert grown.interest.items() >= whole.interest.items()


def remembered(library: Library) -> dict[str, list[Definition]]:
    """The last good definitions by path, as a database gives them back."""
    good: dict[str, list[Definition]] = {}
    for each in library.documents():
        if each.text:
            found = Definition.from_text(
                each.kind, each.namespace, each.name, each.text, each.path, each.index, each.blob, each.commit
            )
            good.setdefault(each.path, []).append(found)
    return good


def test_a_restart_remembers_the_last_good_versions() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)
    broken = shelf.put(api=BAD)
    again = Shelf(good=remembered(broken))
    again.files = dict(shelf.files)

    library = again.put()

    assert codes(library) == codes(broken)
    assert in_force(library).digest == in_force(broken).digest
    assert in_force(library).commit == "c1"
    assert waits(library) is None


def test_after_a_restart_a_last_good_version_that_no_longer_fits_waits() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"), flow=FLOW, run=RUN)
    broken = shelf.put(api=RENAMED)
    again = Shelf(good=remembered(broken))
    again.files = dict(shelf.files)

    library = again.put()

    assert library.rejected.keys() == {"flow.yaml"}
    assert "no longer fits" in (waits(library) or "")


def test_after_a_restart_the_file_that_held_a_name_still_holds_it() -> None:
    shelf = Shelf()
    first = shelf.put(b=job("api"))
    again = Shelf(good=remembered(first))
    again.files = dict(shelf.files)

    library = again.put(a=job("api"))

    assert codes(library) == [("a.yaml", "E-DUPLICATE")]


def rows(library: Library) -> list[DocumentState]:
    return list(library.documents())


def test_documents_tell_what_is_in_force_and_what_is_wrong() -> None:
    shelf = Shelf()
    shelf.put(api=job("api"))

    good, bad = rows(shelf.put(api=BAD + "---\n" + job("late"), new=job("new")))[::2], rows(shelf.put())[1]

    assert [(each.path, each.name, each.accepted) for each in good] == [
        ("api.yaml", "api", False),
        ("new.yaml", "new", True),
    ]
    assert good[0].text and good[0].commit == "c1" and good[0].problems[0].code == "E-UNKNOWN-FIELD"
    assert (bad.path, bad.index, bad.name, bad.text, bad.accepted) == ("api.yaml", 1, "late", "", False)


def test_an_unreadable_file_is_a_document_too() -> None:
    (row,) = rows(Shelf().put(api="apiVersion: reconciler/v1\nkind: [\n"))

    assert (row.path, row.kind, row.accepted) == ("api.yaml", "", False)
    assert row.problems[0].code == "E-SYNTAX"


def test_more_definitions_than_the_limit_make_the_revision_unavailable() -> None:
    tiny = "apiVersion: reconciler/v1\nkind: Nothing\n---\n" * (DEFINITIONS_LIMIT // 20 + 1)
    shelf = Shelf()

    with pytest.raises(SourceUnavailable, match="E-COUNT") as caught:
        shelf.put(**{f"f{number}": tiny for number in range(20)})

    assert caught.value.reason == "TooManyDefinitions"


def test_workflows_that_run_each_other_are_told_in_both_files() -> None:
    one, two = workflow("a: {workflow: two}", name="one"), workflow("a: {workflow: one}", name="two")

    library = Shelf().put(one=one, two=two)

    errors = [problem for problem in library.problems if not problem.warning]
    assert [(problem.file, problem.code) for problem in errors] == [("one.yaml", "E-GRAPH"), ("two.yaml", "E-GRAPH")]
    assert "one -> two -> one" in errors[0].message


def test_workflows_inside_workflows_are_bounded() -> None:
    chain = {f"w{number}": workflow(f"a: {{workflow: w{number + 1}}}", name=f"w{number}") for number in range(200)}

    library = Shelf().put(
        **chain,
        w200=workflow("a: {workflow: end}", name="w200"),
        end=workflow("a: {job: api, with: {name: x}}", name="end"),
        api=job("api"),
    )

    assert {problem.code for problem in library.problems if not problem.warning} == {"E-LIMIT"}
    assert max(len(link.closure) for link in library.links.values()) <= 110


def test_the_digest_of_a_spec_does_not_depend_on_the_order_of_keys() -> None:
    one = Shelf().put(api=job("api"), t=task("t", "job: api, with: {name: x}")).task("demo", "t")
    two = Shelf().put(api=job("api"), t=task("t", "with: {name: x}, job: api")).task("demo", "t")

    assert one is not None and two is not None
    assert one.digest != two.digest
    assert one.spec_digest == two.spec_digest


def test_a_last_good_version_waits_while_what_it_uses_is_gone_also_after_a_restart():
    shelf = Shelf()
    before = shelf.put(good=GOOD, one=task("one", "job: good, with: {name: x}"))
    (file,) = before.tasks()

    gone = shelf.put(good=None)
    anew = build(shelf.tree(), shelf.read, good={"one.yaml": [file]}, drivers=IMPLEMENTED)

    assert before.unresolved(file) is None
    for library in (gone, anew):
        assert [each.digest for each in library.tasks()] == [file.digest]
        assert "`good`" in str(library.unresolved(file))
    assert shelf.put(good=GOOD).unresolved(file) is None
