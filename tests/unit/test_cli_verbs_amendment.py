"""A mapping of a YAML file is changed, and every other byte of the file stays."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from definitions.documents import read
from reconciler.cli.amendment import amend
from reconciler.cli.failure import Failure
from reconciler.cli.flow_style import written

HEAD = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: one}\n"
SUSPENDED = {"state": "suspended", "reason": "CHG-1"}


def amended(text: str, wanted: dict, index: int = 0) -> str:
    return amend("one.yaml", text, index, "control", wanted)


CASES = {
    "missing": ("spec: {job: a}\n", SUSPENDED, "spec: {job: a}\ncontrol:\n  state: suspended\n  reason: CHG-1\n"),
    "missing, without a last line break": ("spec: {job: a}", SUSPENDED, "spec: {job: a}\ncontrol:\n  state: suspended\n  reason: CHG-1"),
    "missing, a comment on the last line": (
        "spec: {job: a}   # why\n\n# the end\n",
        {"run": 2},
        "spec: {job: a}   # why\ncontrol:\n  run: 2\n\n# the end\n",
    ),
    "missing, after a text that keeps its empty lines": (
        "spec:\n  job: a\n  with:\n    text: |+\n      x\n\n\n",
        {"run": 2},
        "spec:\n  job: a\n  with:\n    text: |+\n      x\n\n\ncontrol:\n  run: 2\n",
    ),
    "missing, after a text in lines": (
        "spec:\n    job: a\n    with:\n        text: >-\n            # no comment\n            y\n\n# end\n",
        {"run": 2},
        "spec:\n    job: a\n    with:\n        text: >-\n            # no comment\n            y\ncontrol:\n    run: 2\n\n# end\n",
    ),
    "missing, after an unquoted text of several lines": (
        "spec:\n  job: a\n  with:\n    text: x\n      y # z\n",
        {"run": 2},
        "spec:\n  job: a\n  with:\n    text: x\n      y # z\ncontrol:\n  run: 2\n",
    ),
    "missing, with steps": (
        "spec: {job: a}\n",
        {"steps": {"s.a": {"retry": {"failed": 1}}, "s.b": {"skip": {"reason": "a: b"}}}},
        'spec: {job: a}\ncontrol:\n  steps:\n    s.a: {retry: {failed: 1}}\n    s.b: {skip: {reason: "a: b"}}\n',
    ),
    "in lines": (
        "control:   # the part that changes\n  state: running  # for now\n  # and so on\nspec: {job: a}\n",
        SUSPENDED,
        "control:   # the part that changes\n  state: suspended  # for now\n  reason: CHG-1\n  # and so on\nspec: {job: a}\n",
    ),
    "in lines, one goes": (
        "control:\n  state: suspended\n  # said by Ada\n  reason: >\n    a long\n\n    story\n\n  run: 2  # second\nspec: {job: a}\n",
        {"state": "running", "run": 2},
        "control:\n  state: running\n  # said by Ada\n\n  run: 2  # second\nspec: {job: a}\n",
    ),
    "in lines, the last goes": (
        "control:\n  state: suspended\n  reason: CHG-1  # x",
        {"state": "running"},
        "control:\n  state: running\n  # x",
    ),
    "in brackets": (
        "control: {state: running}  # now\nspec: {job: a}\n",
        SUSPENDED,
        "control: {state: suspended, reason: CHG-1}  # now\nspec: {job: a}\n",
    ),
    "in brackets, one goes": (
        "control: {state: suspended, reason: 'it''s, {so}' , run: 2}\nspec: {job: a}\n",
        {"state": "running", "run": 2},
        "control: {state: running, run: 2}\nspec: {job: a}\n",
    ),
    "in brackets, the last goes": (
        'control: {"state": "suspended", "reason": "a \\"b\\" }"}\nspec: {job: a}\n',
        {"state": "running"},
        'control: {"state": running}\nspec: {job: a}\n',
    ),
    "in brackets over lines": (
        "control: {\n  state: suspended,  # a\n  reason: x y,  # b\n}  # c\nspec: {job: a}\n",
        {"state": "revoked", "reason": "CHG-2", "run": 2},
        "control: {\n  state: revoked,  # a\n  reason: CHG-2, run: 2,  # b\n}  # c\nspec: {job: a}\n",
    ),
    "in brackets over lines, one goes": (
        "control: {\n  state: suspended,  # a\n  reason: x  # b\n}\nspec: {job: a}\n",
        {"state": "running"},
        "control: {\n  state: running,  # a\n    # b\n}\nspec: {job: a}\n",
    ),
    "empty": ("control: {}\nspec: {job: a}\n", {"run": 2}, "control: {run: 2}\nspec: {job: a}\n"),
    "left out": ("control:\nspec: {job: a}\n", {"run": 2}, "control: {run: 2}\nspec: {job: a}\n"),
    "null": ("control: ~ # x\nspec: {job: a}\n", {"run": 2}, "control: {run: 2} # x\nspec: {job: a}\n"),
    "a step in lines": (
        "control:\n  steps:\n    s:\n      retry:\n        failed: 1   # seen\nspec: {job: a}\n",
        {"steps": {"s": {"retry": {"failed": 2}}, "t": {"skip": {"reason": "no"}}}},
        'control:\n  steps:\n    s:\n      retry:\n        failed: 2   # seen\n    t: {skip: {reason: "no"}}\nspec: {job: a}\n',
    ),
    "a step in brackets": (
        "control:\n    steps: {s: {retry: {failed: 1}}}\nspec: {job: a}\n",
        {"steps": {"s": {"retry": {"failed": 1}, "expect": "2d"}}},
        "control:\n    steps: {s: {retry: {failed: 1}, expect: 2d}}\nspec: {job: a}\n",
    ),
    "all steps go": (
        "control:\n  run: 1\n  steps:\n    s: {retry: {failed: 1}}\n    # t\n    t:\n      expect: 1d # x\nspec: {job: a}\n",
        {"run": 2},
        "control:\n  run: 2\n  # t\n  # x\nspec: {job: a}\n",
    ),
    "all steps go and their comments stay": (
        "control:\n  # a\n  state: suspended # b\n  reason: 'c # no'\n  steps: # d\n    # e\n    'x # n': {retry: {failed: 1, # f\n      reason: g # h\n    }}\n    # i\n# j\nspec: {job: a}\n",
        {"run": 2},
        "control:\n  # a\n  # b\n  # d\n  # e\n  # f\n  # h\n  run: 2\n    # i\n# j\nspec: {job: a}\n",
    ),
    "in brackets, comments stay": (
        "control: {state: suspended, # a\n  reason: b,\n  steps: {x: {expect: 1d}, # c\n  # d\n  y: {expect: 2d}}, run: 2}\n",
        {"run": 3},
        "control: { # a\n # c\n # d\nrun: 3}\n",
    ),
    "keys with question marks": (
        "control:\n  ? steps\n  : ? s\n    : retry: {failed: 1}\nspec: {job: a}\n",
        {"steps": {"s": {"retry": {"failed": 2}}, "t": {"expect": "1d"}}},
        "control:\n  ? steps\n  : ? s\n    : retry: {failed: 2}\n    t: {expect: 1d}\nspec: {job: a}\n",
    ),
    "a list of several lines": (
        "control:\n  steps:\n    s:\n      skip:\n        reason: x\n        outputs:\n          ids:\n          - 1\n          - 2\n",
        {"steps": {"s": {"skip": {"reason": "x", "outputs": {"ids": [3]}}}}},
        "control:\n  steps:\n    s:\n      skip:\n        reason: x\n        outputs:\n          ids: [3]\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("breaks", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("name", CASES)
def test_only_what_differs_is_written(name, breaks):
    before, wanted, after = CASES[name]

    text = amended((HEAD + before).replace("\n", breaks), wanted)

    assert text == (HEAD + after).replace("\n", breaks)


@pytest.mark.parametrize("breaks", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("name", CASES)
def test_the_other_documents_of_the_file_stay(name, breaks):
    before, wanted, _after = CASES[name]
    first = "# 你好 🙂 \u2028 # one line for Python, two for YAML\na: 'é\u2028 x'\n--- # two\n"
    last = "\n---\n- {control: {state: running}}\n"
    ours = (first + HEAD + before.rstrip("\n") + last).replace("\n", breaks)
    if "|+" in before:
        ours = (first + HEAD + before + last.lstrip()).replace("\n", breaks)

    text = amended(ours, wanted, index=1)

    assert text.startswith((first + HEAD).replace("\n", breaks))
    assert text.endswith(last.lstrip().replace("\n", breaks))
    value: dict = read("", text.encode())[0][1].value  # type: ignore[assignment]  # the task
    assert value["control"] == wanted


def test_a_document_in_brackets_gets_its_control_in_brackets():
    text = '{"apiVersion": "reconciler/v1", "kind": "Task", "metadata": {"name": "上线"}, "spec": {"job": "a"}}\n'

    assert amended(text, SUSPENDED) == text.replace("}}\n", "}, control: {state: suspended, reason: CHG-1}}\n")


def test_an_indented_document_keeps_its_indentation():
    text = textwrap.indent(HEAD + "spec: {job: a}\n", "  ")

    assert amended(text, {"run": 2}) == text + "  control:\n    run: 2\n"


def test_the_same_again_changes_no_byte():
    text = HEAD + "control: {reason:   'CHG-1',state:  suspended}\n"

    assert amended(text, SUSPENDED) == text


@pytest.mark.parametrize("control", ["control: {steps: {t: , s }}\n", "control: {steps: {t: , ? s }}\n"])
def test_what_cannot_be_changed_by_itself_is_refused_with_its_line(control):
    with pytest.raises(Failure, match=r"one\.yaml:4: `control` .* by hand"):
        amended(HEAD + control, {"steps": {"s": {"retry": {"failed": 2}}, "t": {"expect": "1d"}}})


def test_a_file_with_an_error_is_refused_with_its_place():
    with pytest.raises(Failure, match=r"one\.yaml:6:1 E-DUP-KEY"):
        amended(HEAD + "spec: {job: a}\n---\na: 1\na: 2\n".replace("---\n", ""), {"run": 2})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab: #'上\n", max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_what_is_written_is_read_back(value):
    documents, problems = read("", f"a: {written(value)}\n".encode())

    assert all(problem.warning for problem in problems)
    assert documents[0].value == {"a": value}
    assert repr(documents[0].value) == repr({"a": value})


STYLES = st.sampled_from(["lines", "brackets", "json"])
REASONS = st.text(st.sampled_from("aé🙂 :#,'\"{}[]|>-?\n\\"), min_size=1, max_size=10)
CONTROLS = st.fixed_dictionaries(
    {"state": st.sampled_from(["running", "suspended"])},
    optional={
        "reason": REASONS,
        "run": st.integers(1, 9),
        "steps": st.dictionaries(
            st.sampled_from(["a", "b.c"]),
            st.fixed_dictionaries({}, optional={"skip": st.fixed_dictionaries({"reason": REASONS})}),
            min_size=1,
        ),
    },
)


@given(CONTROLS, CONTROLS, STYLES, st.booleans())
def test_from_any_control_to_any_other(old, new, style, last):
    control = _styled(old, style)
    task = HEAD + (f"spec: {{job: a}} # s\n{control}" if last else f"{control}spec: {{job: a}} # s\n")
    text = f"# first\nkind: x\n---\n{task}--- # end\nb: 1 # c\n"

    after = amended(text, new, index=1)

    assert after.startswith("# first\nkind: x\n---\n" + HEAD)
    assert after.endswith("--- # end\nb: 1 # c\n")
    assert "spec: {job: a} # s\n" in after


def _styled(value: dict, style: str) -> str:
    if style == "lines":
        from definitions.documents import write

        return write({"control": value})
    import json

    return f"control: {written(value) if style == 'brackets' else json.dumps(value, ensure_ascii=False)} # c\n"
