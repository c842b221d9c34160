"""What validation says beside plain errors: what never runs, what was not meant to be left alone, what nobody foresaw."""

import pytest

from definitions import compile as compiler
from definitions import shape
from definitions.cron import cron_objection
from reconciler.follow import _row
from tests.definition_files import GOOD, Shelf, found, job, only, problems, task, workflow

TRIGGER = "apiVersion: reconciler/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  task: {job: good, with: {name: x}}\n"
HTTP = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\nspec:\n  http: BLOCK\n"


def test_a_task_that_says_nothing_is_told_and_ends_nothing() -> None:
    text = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: quiet}\n"

    assert problems(bad=text) == ["bad.yaml:1:1 E-FIELD"]


def test_a_fault_of_the_shape_check_rejects_one_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise IndexError("nobody foresaw it")

    monkeypatch.setattr(shape, "_sentence", broken)

    problem = only(bad="apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: quiet}\n")
    assert (problem.file, problem.code) == ("bad.yaml", "E-INTERNAL")
    assert "IndexError: nobody foresaw it" in problem.message


def test_a_fault_of_the_compiler_rejects_one_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(compiler, "_check_spec", broken)

    assert problems(bad=task("t", "job: good, with: {name: x}")) == ["bad.yaml:1:1 E-INTERNAL"]


def test_a_file_of_many_bad_documents_costs_what_it_holds() -> None:
    text = "---\n".join(
        f"apiVersion: reconciler/v1\nkind: Jbo\nmetadata: {{name: n{number}}}\n" for number in range(3_000)
    )

    rows = [_row(each) for each in Shelf().put(bad=text).documents()]

    assert len(rows) == 3_000
    assert [len(row.problems) for row in rows] == [1] * 3_000
    assert [row.problems[0]["line"] for row in rows[:2]] == [2, 6]


def test_each_document_has_its_own_problems_and_a_rejected_one_without_any_the_first() -> None:
    shelf = Shelf()
    shelf.put(good=job("one") + "---\n" + job("two"))

    library = shelf.put(good=job("one") + "---\n" + job("two") + "  shedule: 1\n---\n" + job("three"))

    rows = {row.name: row for row in library.documents()}
    assert [rows[name].problems[0].line for name in ("one", "two", "three")] == [16, 16, 16]
    assert [bool(rows[name].text) for name in ("one", "two", "three")] == [True, True, False]


def test_a_row_has_fifty_problems_and_says_how_many_more() -> None:
    steps = "\n".join(f"s{number}: {{job: nowhere}}" for number in range(60))

    (row,) = Shelf().put(flow=workflow(steps)).documents()

    assert len(row.problems) == 51
    assert "and 10 more" in row.problems[-1].message


@pytest.mark.parametrize("state", ["", "state: revoked, reason: x, "])
def test_an_end_of_no_suspension_is_told(state: str) -> None:
    text = task("t", "job: good, with: {name: x}") + f'control: {{{state}until: "2036-11-22T06:00Z"}}\n'

    told = only(bad=text)

    assert (told.code, told.warning) == ("W-UNUSED", True)
    assert told.message.startswith("`until` ends a suspension; with `state: r")


def test_more_than_one_target_of_a_job_that_has_one_is_told() -> None:
    told = only(bad=job("bad") + "  parallelism: 4\n")

    assert str(told).startswith("bad.yaml:8:3 W-UNUSED `parallelism` of a job is for what runs in several targets")


@pytest.mark.parametrize("when", ["cron: '0 2 * * *'", "onCommit: {paths: [a]}", "onChange: true"])
def test_a_trigger_that_means_what_it_says_is_fine(when: str) -> None:
    assert found(t=TRIGGER + f"  {when}\n") == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("onChange: true\n  missed: latest", "t.yaml:7:3 W-UNUSED `missed` is about times; without `cron` it changes"),
        ("onCommit: {paths: [a]}\n  within: 1h", "t.yaml:7:3 W-UNUSED `within` is about times; without `cron` it"),
        ("onCommit: {paths: [a]}\n  timezone: UTC", "t.yaml:7:3 W-UNUSED `timezone` is about times; without `cron`"),
        ("cron: '0 2 * * *'\n  missed: skip\n  within: 1h", "t.yaml:8:3 W-UNUSED no missed time fires with"),
        ("cron: '0 2 * * *'\n  missed: all", "t.yaml:7:3 W-UNUSED with `overlap: skip` only the first of them"),
        (
            "cron: '0 2 * * *'\n  missed: all\n  overlap: replace",
            "t.yaml:7:3 W-UNUSED with `overlap: replace` only the",
        ),
    ],
)
def test_an_option_of_a_trigger_that_changes_nothing_is_told(lines: str, problem: str) -> None:
    (told,) = found(t=TRIGGER + f"  {lines}\n")

    assert str(told).startswith(problem)


def test_the_name_of_a_trigger_leaves_room_for_a_slot() -> None:
    told = only(t=TRIGGER.replace("name: t}", f"name: {'t' * 231}}}") + "  onChange: true\n")

    assert (told.code, told.message) == (
        "E-LIMIT",
        "231 characters; the name of a trigger has at most 230, for its tasks' names",
    )


def test_a_trigger_without_a_time_is_told_what_to_give() -> None:
    assert "give one of `cron`, `onCommit`, `onChange`" in only(t=TRIGGER).message


def test_the_group_of_a_workflow_does_not_read_its_steps() -> None:
    extra = "  concurrency: {limit: 1, group: '${{ steps.a.age }}'}\n"

    (problem,) = found(flow=workflow("a: {job: good, with: {name: x}}", extra))

    assert (problem.code, problem.line > 5) == ("E-EXPR-NAME", True)


def test_replace_is_told_to_have_no_meaning_inside_another_workflow() -> None:
    inner = workflow("a: {job: good, with: {name: x}}", "  concurrency: {limit: 1, policy: replace}\n", name="inner")

    (problem,) = found(flow=workflow("b: {workflow: inner}"), inner=inner)

    assert (problem.code, problem.file) == ("W-UNUSED", "flow.yaml")
    assert "`replace` of `inner` is for tasks" in problem.message


@pytest.mark.parametrize(
    "cron",
    ["99 * * * *", "*/0 * * * *", "5-1 * * * *", "0 0 31 2 *", "0 0 31 4,6 *", "0 8 * * 8", "0 8 * * 5-1", "0 8 * * x"],
)
def test_a_time_that_never_comes_is_refused(cron: str) -> None:
    assert problems(t=TRIGGER + f"  cron: '{cron}'\n") == ["t.yaml:6:9 E-FIELD"]


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 0 * *", "there are 4 fields, and cron has five: minute hour day-of-month month weekday"),
        ("0 0 ? * 1", "`?`: write `*`"),
        ("0 0 * * 1#2", "`1#2`: a weekday is not counted within its month"),
        ("0 0 L * *", "`l`: a day is not counted from the end of its month"),
        ("0 0 * jul-x *", "`jul-x`: a field has numbers, `*`, ranges (2-4), steps (*/2) and commas between them"),
        ("0 24 * * *", "`24`: the hour field has 0 to 23"),
        ("0 0 * foo *", "`foo`: the month field has 1 to 12, or jan to dec"),
        ("*/90 * * * *", "`*/90`: a step is 1 to 59 here"),
        ("*/0 * * * *", "`*/0`: a step is 1 to 59 here"),
        ("50-10 * * * *", "`50-10`: a range goes from the lower to the higher minute"),
        ("*-5 * * * *", "`*-5`: `*` is all of them, and begins no range"),
        ("0," * 300 + "0 * * * *", "it has 609 characters, and 500 are more than enough"),
    ],
)
def test_a_text_that_is_no_cron_is_refused_in_plain_words(cron: str, said: str) -> None:
    assert cron_objection(cron) == said
    assert problems(t=TRIGGER + f"  cron: '{cron}'\n") == ["t.yaml:6:9 E-FIELD"]


@pytest.mark.parametrize("zone", ["localtime", "posix/Europe/London", "right/UTC", "Mars/Base"])
def test_a_zone_that_is_another_one_on_each_machine_is_refused(zone: str) -> None:
    assert problems(t=TRIGGER + f"  cron: '0 0 * * *'\n  timezone: {zone}\n") == ["t.yaml:7:13 E-FIELD"]


@pytest.mark.parametrize(
    "cron",
    ["*/15 * * * *", "0 0 29 2 *", "0 8 * * 0", "0 8 * * 7", "0 8 * * 5-7", "0 8 * * SUN-thu", "0 8 * * */2", "0 0 31 2 1"],
)  # fmt: skip
def test_a_time_that_comes_is_fine(cron: str) -> None:
    assert cron_objection(cron) is None


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{url: http://h, method: POST, json: 1, form: {a: b}}", "5:48 E-FIELD"),
        ("{url: http://h, method: POST, form: {a: b}, body: x}", "5:53 E-FIELD"),
        ("{url: 'http://h:0/'}", "5:15 E-HTTP-HOST"),
        ("{url: 'http://h:65536/'}", "5:15 E-HTTP-HOST"),
        ("{url: 'http://h/a b'}", "5:15 E-HTTP-HOST"),
        ('{url: "http://h/a\\nb"}', "5:15 E-HTTP-HOST"),
        ("{url: http://h, headers: {X Y: a}}", "5:35 E-FIELD"),
        ('{url: http://h, headers: {X: "a\\r\\nb"}}', "5:38 E-FIELD"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_at_its_place(block: str, expected: str) -> None:
    assert problems(bad=HTTP.replace("BLOCK", block)) == [f"bad.yaml:{expected}"]


def test_expressions_in_urls_and_headers_are_left_to_the_driver() -> None:
    block = '{url: "http://h:65535/${{ params.name }}?x=${{ params.name }}", headers: {X: "a ${{ params.name }}"}}'

    assert found(bad=job("bad").split("  http:")[0] + f"  http: {block}\n") == ()


def test_every_without_until_is_told() -> None:
    (problem,) = found(slow=job("slow") + "  every: 9s\n")

    assert (problem.line, problem.code) == (8, "W-UNUSED")
    assert found(slow=job("slow") + "  every: 9s\n  until: result.done\n") == ()


@pytest.mark.parametrize("version", ["apiversion: reconciler/v1\n", "", "apiVersion: reconciler\n"])
def test_a_document_without_our_version_is_told_and_left_alone(version: str) -> None:
    library = Shelf().put(good=GOOD, stray=f"{version}kind: Task\nmetadata: {{name: x}}\n")

    assert [str(each).rpartition(" this")[0] for each in library.problems] == ["stray.yaml:1:1 W-NOT-OURS"]
    assert not library.rejected


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n---\nkind: Other\n",
        "kind: Deployment\n",
        "text: 'kind: Job'\n",
        "kind: Task\nbroken: [\n",
    ],
)
def test_documents_of_other_systems_are_left_alone_without_a_word(text: str) -> None:
    assert found(other=text) == ()


def test_a_file_full_of_aliases_is_told_in_three_lines() -> None:
    text = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\nspec: [&a 1, *a, *a, *a, *a, *a]\n"

    assert [each.code for each in found(bad=text)] == ["E-ALIAS"] * 3
