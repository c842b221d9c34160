"""The YAML reader: values as YAML 1.2 reads them, places for every path, and an answer for every hostile file."""

import time
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions import documents
from definitions.documents import read, write
from definitions.problems import Position, Problem

GOOD = b"kind: Task\nmetadata: {name: good}\n"


def codes(data: bytes) -> list[str]:
    return [problem.code for problem in read("f.yaml", data)[1]]


def value(text: str) -> Any:
    (document,), _ = read("f.yaml", text.encode())
    return document.value


def test_values_keys_and_items_know_their_place():
    text = "spec:\n  steps:\n    a: {job: x}\n    b: [1, {c: 2}]\n"

    (document,), problems = read("f.yaml", text.encode())

    assert problems == ()
    assert document.value == {"spec": {"steps": {"a": {"job": "x"}, "b": [1, {"c": 2}]}}}
    assert document.key_position(("spec", "steps", "a")) == Position(3, 5)
    assert document.position(("spec", "steps", "a", "job")) == Position(3, 14)
    assert document.position(("spec", "steps", "b", 1, "c")) == Position(4, 16)
    assert document.positions[("spec", "steps", "b", 0)] == Position(4, 9)
    assert document.key_positions[("spec",)] == Position(1, 1)


def test_an_unknown_path_has_the_place_of_its_nearest_ancestor():
    (document,), _ = read("f.yaml", b"a:\n  b: 1\n")

    assert document.position(("a", "missing", "deeper")) == Position(2, 3)
    assert document.key_position(("missing",)) == Position(1, 1)


def test_columns_count_characters_not_bytes():
    (document,), _ = read("f.yaml", "{名: 1, b: 2}".encode())

    assert document.key_position(("b",)) == Position(1, 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None), ("~", None), ("", None), ("true", True), ("True", True), ("FALSE", False),
        ("12", 12), ("-7", -7), ("+3", 3), ("0x1F", 31), ("0o17", 15), ("010", 10), ("-0", 0),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-2.5E-1", -0.25),
        ("9223372036854775807", 2**63 - 1), ("000000000000000000000000000001", 1),
        ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("y", "y"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"), ("0b1", "0b1"), ("5s", "5s"), ("1.2.3", "1.2.3"), ("=", "="), ("tRUE", "tRUE"),
        ("'12'", "12"), ('"true"', "true"), ("|\n  x\n", "x\n"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text, expected):
    assert value(f"a: {text}") == {"a": expected}
    assert type(value(f"a: {text}")["a"]) is type(expected)


@pytest.mark.parametrize(
    "text", ["no", "Yes", "on", "OFF", "1:30", "12:30:45", "010", "08", "1e3", "0o17", "0b1", "1_000", "2020-01-01"]
)
def test_what_older_yaml_reads_otherwise_is_a_warning_and_stays_in_force(text):
    (document,), (problem,) = read("f.yaml", f"a:\n  b: {text}\n".encode())

    assert (problem.code, problem.line, problem.column) == ("W-AMBIGUOUS", 2, 6)
    assert problem.warning
    assert text in problem.message
    assert document.position(("a", "b")) == Position(2, 6)


@pytest.mark.parametrize("text", ["'no'", '"010"', "true", "0", "-1.5", "0x10", "5s", "06:00", "~", "word"])
def test_what_both_read_alike_is_no_warning(text):
    assert codes(f"a: {text}".encode()) == []


def test_keys_are_text_as_written():
    assert value("1: a\ntrue: b\non: c\nnull: d\n010: e\n'': f\n") == {
        "1": "a", "true": "b", "on": "c", "null": "d", "010": "e", "": "f",
    }  # fmt: skip


def test_documents_are_numbered_and_empty_ones_skipped():
    found, problems = read("f.yaml", b"# nothing\n---\n---\na: 1\n---\nnull\n---\n- 2\n")

    assert [(document.index, document.value) for document in found] == [(1, {"a": 1}), (3, [2])]
    assert problems == ()


@pytest.mark.parametrize("data", [b"", b"\n", b"# only a comment\n", b"---\n", b"--- ~\n"])
def test_a_file_without_content_has_no_documents_and_no_problems(data):
    assert read("f.yaml", data) == ((), ())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[" * 25_000, (1, 65, "E-DEPTH")),
        (b"- " * 25_000, (1, 129, "E-DEPTH")),
        (b"{a: " * 25_000, (1, 257, "E-DEPTH")),
        (b"&a [*a]", (1, 1, "E-ALIAS")),
        (b"a: *unknown", (1, 4, "E-ALIAS")),
        (b"a: &x 1", (1, 4, "E-ALIAS")),
        (b"&k a: 1", (1, 1, "E-ALIAS")),
        (b"a: !!python/object/apply:os.system [id]", (1, 4, "E-TAG")),
        (b"a: !!str 1", (1, 4, "E-TAG")),
        (b"a: ! 1", (1, 4, "E-TAG")),
        (b"!x a: 1", (1, 1, "E-TAG")),
        (b"steps: 1\nb: 2\nsteps: 3\n", (3, 1, "E-DUP-KEY")),
        (b"1: a\n'1': b\n", (2, 1, "E-DUP-KEY")),
        (b"? [a]\n: 1\n", (1, 3, "E-KEY")),
        (b"? {a: 1}\n: 1\n", (1, 3, "E-KEY")),
        (b"?\n: 1\n", (1, 2, "E-KEY")),
        (b"a: \xff", (1, 4, "E-ENCODING")),
        (b"a: 1\nb: \0", (2, 4, "E-ENCODING")),
        (b"a: \x1b[31m", (1, 4, "E-ENCODING")),
        (b"\xef\xbb\xbfa: 1", (1, 1, "E-ENCODING")),
        ("a: 1".encode("utf-16"), (1, 1, "E-ENCODING")),
        ("a: 1".encode("utf-16-be"), (1, 1, "E-ENCODING")),
        ("a: 1".encode("utf-32"), (1, 1, "E-ENCODING")),
        (b"a: \xed\xa0\x80", (1, 4, "E-ENCODING")),
        (b'a: "\\0"', (1, 4, "E-VALUE")),
        (b"a: .inf", (1, 4, "E-VALUE")),
        (b"a: [-.INF, .nan]", (1, 5, "E-VALUE")),
        (b"a: 1e999", (1, 4, "E-VALUE")),
        (b"a: 9223372036854775808", (1, 4, "E-VALUE")),
        (b"a: " + b"9" * 100_000, (1, 4, "E-VALUE")),
        (b"a: 0x" + b"f" * 100_000, (1, 4, "E-VALUE")),
        (b"a: b: c", (1, 5, "E-SYNTAX")),
        (b"a: 'x\n", (2, 1, "E-SYNTAX")),
        (b"\t- a", (1, 1, "E-SYNTAX")),
        (b"a: [1, 2\n", (2, 1, "E-SYNTAX")),
        (b"%YAML 9.9\n---\na: 1", (1, 1, "E-SYNTAX")),
        (b"x" * (1 << 20) + b"x", (1, 1, "E-SIZE")),
    ],
)
def test_a_hostile_file_is_refused_at_its_place_in_bounded_time(data, expected):
    started = time.process_time()

    found, problems = read("f.yaml", data)

    first = problems[0]
    assert (first.line, first.column, first.code) == expected
    assert found == ()
    assert time.process_time() - started < 2


def test_billion_laughs_are_refused_alias_by_alias():
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    found, problems = read("f.yaml", "\n".join(lines).encode())

    assert found == ()
    assert {problem.code for problem in problems} == {"E-ALIAS"}
    assert len(problems) == documents.MAX_ALIASES


def test_a_duplicate_key_names_both_lines_and_leaves_the_other_documents():
    found, (problem,) = read("f.yaml", b"spec:\n  steps: 1\n  steps: 2\n---\n" + GOOD)

    assert str(problem) == "f.yaml:3:3 E-DUP-KEY duplicate key 'steps': first on line 2, again on line 3"
    assert [document.index for document in found] == [1]


def test_equal_keys_in_different_mappings_are_fine():
    assert codes(b"a: {x: 1}\nb: {x: 2}\nc: [{x: 1}, {x: 2}]\n") == []


def test_an_encoding_problem_names_the_byte():
    _, (problem,) = read("f.yaml", "é: ok\nb: ".encode() + b"\x80")

    assert problem == Problem("f.yaml", 2, 4, "E-ENCODING", "0x80 is not UTF-8, at byte 10")


def test_documents_before_a_syntax_error_are_returned_beside_it():
    found, (problem,) = read("f.yaml", GOOD + b"---\na: [\n---\n" + GOOD)

    assert [document.position(("kind",)) for document in found] == [Position(1, 7)]
    assert problem.code == "E-SYNTAX"


def test_more_values_than_the_limit_end_the_reading():
    found, problems = read("f.yaml", b"[" + b"1," * 520_000 + b"1]")

    assert found == ()
    assert [problem.code for problem in problems] == ["E-LIMIT"]


def test_a_file_at_its_limit_would_stay_below_64_mib(monkeypatch):
    monkeypatch.setattr(documents, "MAX_NODES", documents.MAX_NODES // 10)
    tracemalloc.start()

    read("f.yaml", b"[" + b"1," * 52_000 + b"1]")

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak * 10 < 64 << 20


def test_many_warnings_neither_flood_nor_reject():
    (document,), problems = read("f.yaml", b"- no\n" * 1_000)

    assert len(document.value) == 1_000
    assert len(problems) == documents.MAX_PROBLEMS


def test_the_pure_parser_gives_the_same_answers(monkeypatch):
    data = [GOOD, b"a: [1, {b: no}]\n---\nc: 2\n", b"a: &x 1", b"a: 1\na: 2", b"[" * 100, b"a: 'x", b"? [a]\n: 1\n"]
    quick = [read("f.yaml", each) for each in data]
    monkeypatch.setattr(documents, "_Loader", yaml.SafeLoader)

    slow = [read("f.yaml", each) for each in data]

    assert [(found, [(p.code, p.line) for p in problems]) for found, problems in slow] == [
        (found, [(p.code, p.line) for p in problems]) for found, problems in quick
    ]


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_the_reader_answers_any_bytes(data):
    found, problems = read("f.yaml", data)

    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(document.value is not None for document in found)


@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%?~ \n\t01.eE<=@`\\", max_size=80))
@settings(max_examples=500, deadline=None)
def test_the_reader_answers_any_yaml_like_text(text):
    found, problems = read("f.yaml", text.encode())

    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(document.position(()).line >= 1 for document in found)


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


@given(json_values.filter(lambda each: each is not None))
@settings(max_examples=300, deadline=None)
def test_what_is_written_reads_back_the_same(original):
    found, problems = read("f.yaml", write(original).encode())

    assert problems == ()
    assert [document.value for document in found] == [original]


@pytest.mark.parametrize(
    "text", ["no", "010", "1e3", "0o17", "1:30", "", "~", "null", "=", "<<", "- a", "x: y", "#", ".inf"]
)
def test_text_that_looks_like_something_else_is_written_quoted(text):
    assert value(write({"a": text})) == {"a": text}


def test_writing_keeps_the_order_unicode_and_shared_values():
    shared = {"x": 1}

    assert write({"b": shared, "a": shared, "标题": "上线"}) == "b:\n  x: 1\na:\n  x: 1\n标题: 上线\n"


def test_a_problem_prints_like_a_compiler_and_sorts_by_place():
    early, late = Problem("a.yaml", 2, 9, "E-TAG", "m"), Problem("a.yaml", 10, 1, "W-AMBIGUOUS", "n")

    assert str(early) == "a.yaml:2:9 E-TAG m"
    assert sorted([late, early]) == [early, late]
    assert late.warning
    assert not early.warning
    assert early.as_dict() == {"file": "a.yaml", "line": 2, "column": 9, "code": "E-TAG", "message": "m"}
