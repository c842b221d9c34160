"""Rows 1-17 of the hostile inputs, as files beside a sound definition that must not suffer from them."""

import pytest

from definitions.problems import Problem
from tests.definition_files import GOOD, Shelf, found, only, problems, task, workflow

ENVELOPE = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\n"
LAUGHS = "\n".join(f"  l{level}: &l{level} [{', '.join(['*l' + str(level - 1)] * 9)}]" for level in range(1, 10))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("[" * 25_000, "bad.yaml:1:65 E-DEPTH"),
        (ENVELOPE + "spec: " + "[" * 25_000, "bad.yaml:4:70 E-DEPTH"),
        (ENVELOPE + "spec: " + "{a: " * 25_000, "E-DEPTH"),
        (ENVELOPE + "spec:\n  l0: &l0 lol\n" + LAUGHS, "bad.yaml:5:7 E-ALIAS"),
        ("&a [*a]", "bad.yaml:1:1 E-ALIAS"),
        (ENVELOPE + "spec: &a [*a]\n", "bad.yaml:4:7 E-ALIAS"),
        ("!!python/object/apply:os.system [id]", "bad.yaml:1:1 E-TAG"),
        (ENVELOPE + "spec: !!python/object/apply:os.system [id]\n", "bad.yaml:4:7 E-TAG"),
        (ENVELOPE + "spec: {}\nspec: {}\n", "bad.yaml:5:1 E-DUP-KEY"),
        (ENVELOPE.encode() + b"spec: {title: \xff}\n", "E-ENCODING"),
        (ENVELOPE.encode() + b"spec: {title: a\0b}\n", "E-ENCODING"),
        (ENVELOPE.encode("utf-16"), "E-ENCODING"),
        (ENVELOPE.encode("utf-16-be"), "E-ENCODING"),
        (b"\xef\xbb\xbf" + ENVELOPE.encode(), "E-ENCODING"),
        (ENVELOPE + "spec: [a\n", "E-SYNTAX"),
        (ENVELOPE + "spec: {? [a] : b}\n", "E-KEY"),
        (ENVELOPE + "spec: {http: {url: http://h}, retry: {limit: 99999999999999999999}}\n", "E-VALUE"),
        (ENVELOPE.replace("/v1", "/v2") + "spec: {}\n", "bad.yaml:1:13 E-API-VERSION"),
        (ENVELOPE.replace("Job", "Jbo") + "spec: {}\n", "bad.yaml:2:7 E-KIND"),
        (ENVELOPE, "E-MISSING-FIELD"),
        (ENVELOPE + "spec: {http: {url: http://h}, shedule: 1}\n", "bad.yaml:4:31 E-UNKNOWN-FIELD"),
        (ENVELOPE + "spec: {http: {url: http://h, idempotent: yes}}\n", "bad.yaml:4:42 E-FIELD"),
        (ENVELOPE.replace("name: bad", "name: bad, labels: {app: 2048}") + "spec: {http: {url: http://h}}\n", "bad.yaml:3:37 E-FIELD"),
        (ENVELOPE.replace("name: bad", 'name: "b\\u202Ed"') + "spec: {http: {url: http://h}}\n", "bad.yaml:3:18 E-FIELD"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_told_at_its_place_and_the_others_go_on(data: str | bytes, code: str) -> None:
    assert any(code in problem for problem in problems(bad=data))


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        *((text, "text: put the commit in quotes, digit by digit as it is written") for text in ("0123456", "12345e7")),
        *(
            (text, f"a commit by at least 7 digits (0-9, a-f), not '{text}'")
            for text in ("main", "abcdef", "ABCDEF0", "v1.0.0-rc1")
        ),
    ],
)
def test_a_commit_to_continue_with_is_named_by_digits_and_no_number_is_spelled_anew(commit: str, said: str) -> None:
    text = f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: bad}}\ncontrol: {{repin: {commit}}}\n"

    assert f"`repin` must be {said}" in [each.message for each in found(bad=text)]


def test_a_duplicate_key_names_both_lines() -> None:
    assert "line 4" in (text := str(found(bad=ENVELOPE + "spec: {}\nspec: {}\n")[0]))
    assert "line 5" in text


def test_an_encoding_problem_names_the_byte() -> None:
    (problem,) = found(bad=ENVELOPE.encode() + b"spec: {title: \xff}\n")

    assert str(len(ENVELOPE) + 14) in problem.message


def test_ambiguous_scalars_are_read_as_yaml_12_and_told() -> None:
    text = ENVELOPE + "spec:\n  http: {url: http://h, json: {a: no, b: 1:30, c: 010, d: 2026-11-22}}\n"

    library = Shelf().put(good=GOOD, bad=text)

    assert {problem.code for problem in library.problems} == {"W-AMBIGUOUS"}
    request = library.program("Job", "default", "bad").nodes["job"].unit
    assert request is not None
    rendered = request.request.render({})
    assert isinstance(rendered, dict) and rendered["json"] == {"a": "no", "b": "1:30", "c": 10, "d": "2026-11-22"}


@pytest.mark.parametrize("code", ["E-SIZE", "E-FILE-MODE", "E-PATH"])
def test_what_the_source_refuses_is_listed_and_nothing_else_suffers(code: str) -> None:
    shelf = Shelf()
    shelf.refused = (Problem("bad.yaml", 1, 1, code, "refused without being read"),)

    library = shelf.put(good=GOOD)

    assert [each.code for each in library.problems] == [code]
    assert ("Job", "default", "good") in library.links
    assert [row.path for row in library.documents() if not row.accepted] == ["bad.yaml"]


def test_an_lfs_pointer_is_told() -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

    assert problems(bad=pointer) == ["bad.yaml:1:1 E-LFS"]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("a: {job: good, with: {name: '${{ steps.b.age }}'}}\nb: {job: good, with: {name: '${{ steps.a.age }}'}}", "a -> b -> a"),
        ("a: {job: good, with: {name: '${{ steps.a.age }}'}}", "a -> a"),
        ("a: {job: good, with: {name: '${{ steps.nope.age }}'}}", "unknown step `nope`"),
        ("a: {job: good, with: {name: x}, needs: [a]}", "a -> a"),
    ],
)  # fmt: skip
def test_a_graph_without_an_order_is_told_with_its_cycle(steps: str, message: str) -> None:
    (problem,) = found(bad=workflow(steps))

    assert problem.code == "E-GRAPH"
    assert message in problem.message


@pytest.mark.parametrize(
    ("expression", "codes"),
    [
        ("'a' * 10 ** 10", {"E-EXPR-BUDGET"}),
        ("9 ** 9 ** 9", {"E-EXPR-BUDGET", "E-EXPR-NAME"}),
        ("1" + " + 1" * 2_000, {"E-EXPR-BUDGET"}),
        ("(" * 500 + "1" + ")" * 500, {"E-EXPR-BUDGET"}),
        ("steps.a.__class__.__mro__", {"E-EXPR-NAME"}),
        ("__import__('os')", {"E-EXPR-NAME"}),
        ("open('x')", {"E-EXPR-NAME"}),
        ("'{0.__class__}'.format(params)", {"E-EXPR-NAME"}),
        ("(lambda: 1)()", {"E-EXPR-NAME"}),
        ("params.name; 1", {"E-EXPR-SYNTAX"}),
    ],
)  # fmt: skip
def test_a_hostile_expression_is_refused_wherever_it_stands(expression: str, codes: set[str]) -> None:
    templated = (
        task("unused", "job: good, with: {name: x}")
        + "---\n"
        + workflow(f'a: {{job: good, with: {{name: "${{{{ {expression} }}}}"}}}}')
    )
    bare = workflow(f'a: {{job: good, with: {{name: x}}, if: "{expression}"}}')

    for text in (templated, bare):
        (problem,) = found(bad=text)
        assert problem.code in codes
        assert len(problem.message) < 400


def test_many_mistakes_in_one_file_are_listed_up_to_a_limit() -> None:
    fields = ", ".join(f"x{number}: 1" for number in range(5_000))

    assert len(found(bad=ENVELOPE + f"spec: {{{fields}}}\n")) <= 50


def test_ten_thousand_unknown_names_do_not_cost_ten_thousand_searches() -> None:
    texts = {f"t{number}": task(f"t{number}", f"job: goood{number}") for number in range(2_000)}

    listed = found(**texts)

    assert len(listed) == 2_000
    assert {problem.code for problem in listed} == {"E-REF"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("wait: 3s", "`wait` must be a mapping, not '3s'; write `wait: {for: 3s}`"),
        ("wait: 90", "`wait` must be a mapping, not the number 90; write `wait: {for: 90s}`"),
        ("wait: 2026-11-22T06:00Z", "write `wait: {until: 2026-11-22T06:00Z}`"),
        ("wait: true", "`wait` must be a mapping, not true"),
        ("approval: go on?", "write `approval: {message: …}`"),
    ],
)
def test_who_writes_a_pause_short_is_told_how_it_is_written(step, said):
    found = only(bad=workflow(f"pause: {{{step}}}"))

    assert found.message.endswith(said)
