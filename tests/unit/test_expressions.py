"""Expressions and templates: what the seeds say works, what is missing is None, and nothing explodes or escapes."""

import json
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.expressions import ROOTS, EvaluationError, ExpressionError, parse, template
from definitions.functions import FUNCTIONS, METHODS

SCOPE = {
    "params": {"name": "alice", "n": 7, "price": 2.5, "flag": True, "tags": ["a", "b"]},
    "steps": {"step1": {"name": "alice*", "rows": [{"name": "x", "ok": True}, {"name": "y", "ok": False}]}},
    "result": [{"name": "zero"}, {"name": "one"}, {"name": "two"}, {"name": "three"}],
    "loop": {"index": 2},
}
HUGE = {"params": {"text": "a" * 1_000_000, "list": [0] * 400_000, "deep": [[["x"] * 100] * 100] * 50, "n": 10**9}}


def evaluate(text: str, scope=SCOPE):
    return parse(text).evaluate(scope)


def answered(text: str, scope):
    """The value, or the one kind of error that an expression may end with."""
    try:
        return evaluate(text, scope)
    except (ExpressionError, EvaluationError) as error:
        return error


def refusal(text: str, roots=ROOTS) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text, roots)
    return caught.value


# --- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result", "expected"),
    [
        ("result.name != None and len(result.name) != 0", {"name": "x"}, True),
        ("result.name != None and len(result.name) != 0", {"name": ""}, False),
        ("result.name != None and len(result.name) != 0", {}, False),
        ("result.sex != None and len(result.sex) != 0", None, False),
        ("result.age != None and result.age != 0", {"age": 20}, True),
        ("result.age != None and result.age != 0", {"age": 0}, False),
        ("result.msg != ''", {"msg": ""}, False),
        ("result.msg != ''", {}, True),
        ("result[3].name", SCOPE["result"], "three"),
    ],
)
def test_the_conditions_of_the_seeds_work_unchanged(text, result, expected):
    assert evaluate(text, {"result": result}) == expected


def test_the_stars_of_the_seeds_work_unchanged():
    assert evaluate("(loop.index + 1) * '*'") == "***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.n", 7), ("params['name']", "alice"), ("params.tags[-1]", "b"), ("params.name[1:3]", "li"),
        ("params.tags[::-1]", ["b", "a"]), ("1 + 2 * 3 - 4 / 2", 5.0), ("7 // 2 + 7 % 4", 6), ("2 ** 10", 1024),
        ("-params.n", -7), ("+params.n", 7), ("not params.flag", False), ("'a' + 'b'", "ab"), ("[1] + [2]", [1, 2]),
        ("params.n > 3 and 'big' or 'small'", "big"), ("'yes' if params.flag else 'no'", "yes"),
        ("1 < params.n <= 7", True), ("params.n in (1, 7)", True), ("'x' not in params.tags", True),
        ("params.none is None", True), ("params.n is not None", True), ("'a' in {'a': 1}", True),
        ("[r.name for r in steps.step1.rows if r.ok]", ["x"]), ("any(r.ok for r in steps.step1.rows)", True),
        ("{k: v for k, v in {'a': 1}.items()}", {"a": 1}), ("[a + b for a, b in zip([1, 2], [3, 4])]", [4, 6]),
        ("[x * y for x in [1, 2] for y in [3, 4]]", [3, 4, 6, 8]), ("[[y for y in [x]] for x in [1]]", [[1]]),
        ("{**{'a': 1}, 'b': 2}", {"a": 1, "b": 2}), ("(1, 2)", [1, 2]), ("f'{params.n:03d}/{params.name}'", "007/alice"),
        ("f'{params.flag} {params.none} {params.tags}'", 'true null ["a","b"]'), ("f'{params.price:.2f}'", "2.50"),
        ("len(params.tags)", 2), ("str(params.tags)", '["a","b"]'), ("str(True)", "true"), ("int('12') + int(2.9)", 14),
        ("float('1.5')", 1.5), ("bool([])", False), ("min(3, 1, 2)", 1), ("max([1, 3])", 3), ("abs(-2)", 2),
        ("round(2.567, 1)", 2.6), ("round(2.6)", 3), ("sum([1, 2.5])", 3.5), ("all([1, 0])", False),
        ("sorted(['b', 'a'])", ["a", "b"]), ("range(3)", [0, 1, 2]), ("range(4, 0, -2)", [4, 2]),
        ("enumerate(['a'], 1)", [[1, "a"]]),
        ("'abc'.startswith('ab') and 'abc'.endswith('c')", True), ("' x '.strip()", "x"), ("'--x'.strip('-')", "x"),
        ("'A'.lower() + 'b'.upper()", "aB"), ("'a,b'.split(',')", ["a", "b"]), ("'a b c'.split(None, 1)", ["a", "b c"]),
        ("'aXa'.replace('X', '-')", "a-a"), ("', '.join(params.tags)", "a, b"), ("{'a': 1}.get('b', 2)", 2),
        ("{'a': 1}.keys()", ["a"]), ("{'a': 1}.values()", [1]), ("{'a': 1}.items()", [["a", 1]]),
    ],
)  # fmt: skip
def test_the_language_means_what_python_means(text, expected):
    assert evaluate(text) == expected


def test_every_function_and_method_is_tried_above():
    mark = next(mark for mark in test_the_language_means_what_python_means.pytestmark if mark.name == "parametrize")
    tried = " ".join(text for text, _ in mark.args[1])

    assert [name for name in FUNCTIONS if f"{name}(" not in tried] == []
    assert [name for name in METHODS if f".{name}(" not in tried] == []


@pytest.mark.parametrize(
    "text", ["params.none", "params.none.x.y", "params['none']['x']", "steps.nope.out", "task.state", "params.name.first",
             "params.n.bit_length", "params.tags.append", "result.name", "params.none[0]", "{'a': 1}.get('b')"]
)  # fmt: skip
def test_what_is_missing_is_none(text):
    assert evaluate(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("result[9].name", "index"), ("params.tags[2]", "index"), ("params.name + 1", "cannot compute"), ("1 / 0", "division"),
        ("len(params.none)", "None has no length"), ("params.none < 1", "not supported"), ("params.n['x']", "no items"),
        ("params.tags['x']", "indices"), ("int('x')", "invalid literal"), ("float(params.name[:0] + 'nan')", "not finite"),
        ("float(params.name[:0] + 'inf')", "not finite"), ("params.price * 1e308", "not finite"), ("(-8) ** 0.5", "not a number"), ("{1: 2}", "keys"),
        ("{x: 1 for x in [1]}", "keys"), ("[x for x in params.none]", "iterable"), ("'%9999999d' % 1", "cannot compute"),
        ("round(5, -1000000000)", "round"), ("params.none.lower()", "None has no .lower()"), ("params.n.items()", "no .items()"),
        ("sum(['a'])", "not a number"), ("sorted([1, 'a'])", "not supported"), ("'a' in params.n", "cannot contain"),
        ("range(1, 2, 0)", "zero"), ("{**params.n}", "**"), ("9223372036854775807 + params.n", "64 bits"),
    ],
)  # fmt: skip
def test_what_has_no_value_raises_with_a_reason_and_its_text(text, part):
    with pytest.raises(EvaluationError) as caught:
        evaluate(text)

    assert part in str(caught.value)
    assert text in str(caught.value)


def test_an_integer_of_the_data_beyond_64_bits_passes_through():
    assert evaluate("params.big", {"params": {"big": 10**30}}) == 10**30


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": time}, {1: 2}, float("nan"), b"x", [[(1, 2)]]])
def test_what_is_not_json_is_never_a_result(value):
    with pytest.raises(EvaluationError):
        evaluate("params.value", {"params": {"value": value}})


def test_python_objects_in_the_scope_show_no_attributes():
    assert evaluate("params.value.daemon", {"params": {"value": threading.current_thread()}}) is None


# --- what it refers to -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps.step1.name", {("steps", "step1", "name")}),
        ("steps['step1'].name['x']", {("steps", "step1", "name", "x")}),
        ("result[3].name", {("result",)}),
        ("steps[params.which].name", {("steps",), ("params", "which")}),
        ("steps.a.rows[0].x + calls.b.y", {("steps", "a", "rows"), ("calls", "b", "y")}),
        ("steps.a.name.lower()", {("steps", "a", "name")}),
        ("params", {("params",)}),
        ("[item.x for item in results]", {("results",)}),
        ("[item for x in item]", {("item",)}),
        ("[x for x in steps.a for y in x.rows if y == params.n]", {("steps", "a"), ("params", "n")}),
        ("f'{params.a}-{len(steps.b.c)}'", {("params", "a"), ("steps", "b", "c")}),
        ("{**params, 'x': item}", {("params",), ("item",)}),
        ("1 + 1", set()),
    ],
)  # fmt: skip
def test_references_are_the_static_paths(text, expected):
    assert parse(text).references == expected


def test_only_the_given_roots_exist():
    error = refusal("params.a + steps.b", frozenset({"params"}))

    assert (error.code, error.offset) == ("E-EXPR-NAME", 11)
    assert "'steps'" in error.message
    assert "params" in error.message


def test_equal_texts_are_one_expression():
    assert parse("params.a == 1") is parse("params.a == 1")
    assert parse("params.a == 1") == parse("params.a == 1", ROOTS)


# --- hostile texts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '"a"*10**10', "9**9**9", "params.n + 9**9**9", "params.name + 'a' * 10 ** 10", "1" + "+1" * 100_000, "1" + "+1" * 2_000,
        "(" * 300 + "1" + ")" * 300, "-" * 8_000 + "1", "not " * 2_000 + "1", "[" * 150 + "]" * 150, "params" + ".b" * 3_000,
        "params" + "[0]" * 100, "x" * 9_000, "1e999", "9" * 5_000, "99999999999999999999", "range(99999999999999)",
        "[0 for a in range(9999) for b in range(9999)]", "[[[0] * 1000] * 1000] * 1000", "[" + "1," * 2_000 + "]",
        "params.a and (" * 70 + "1" + ")" * 70, "1 if params.a else " * 500 + "0", "params.a" + " + 1" * 80,
        "2 ** 63", "1e308 * 10", "float('nan')", "'abc' * 99999", "sum([1e308, 1e308])", "[" * 30 + "1" + " for x in params]" * 30,
    ],
)  # fmt: skip
def test_what_explodes_is_refused_when_parsed(text):
    started = time.process_time()

    assert refusal(text).code == "E-EXPR-BUDGET"
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "steps.a.__class__.__mro__", "steps.a['__class__']", "''.__class__", "__import__('os')", "__builtins__", "().__class__",
        "getattr(steps, 'a')", "open('/etc/passwd')", "eval('1')", "print(1)", "'{0.__class__}'.format(steps)",
        "''.format_map({})", "params.name.encode()", "params.tags.append(1)", "steps.a()", "(steps.a)(1)", "[len][0]('x')",
        "len", "unknown", "lambda: 1", "(x := 1)", "await x", "{1, 2}", "{x for x in params}", "[*params.tags]", "max(*[1])",
        "sorted([1], reverse=True)", "~1", "1 << 99999999", "1 | 2", "params @ params", "b'x'", "1j", "...", "f'{steps!r}'",
        "f'{1:{params.n}}'", "f'{1:999999999d}'", "steps is params", "[__x__ for __x__ in params]", "[len for len in params]",
        "[x async for x in params]", "[0 for params.x in params]", "secrets.x", "config", "self", "type(1)", "yield_",
    ],
)  # fmt: skip
def test_what_is_outside_the_closed_set_is_refused_by_name(text):
    assert refusal(text).code == "E-EXPR-NAME"


@pytest.mark.parametrize(
    "text", ["", "  ", "a b", "1 +", "x = 1", "import os", "a; b", "a\0b", "\ud800", "'\\ud800'", "'open", "len()", "len(1, 2)",
             "f'{'", "((", "yield", "0777", "del x", "'\\N{no such}'"]
)  # fmt: skip
def test_what_is_no_expression_is_a_syntax_error(text):
    assert refusal(text).code == "E-EXPR-SYNTAX"


@pytest.mark.parametrize(("text", "offset"), [("  nope", 2), ("'é' + nope", 6), ("params.a )", 9), ("(\n nope)", 3)])
def test_an_error_knows_its_character(text, offset):
    assert refusal(text).offset == offset


def test_full_width_spelling_hides_no_dunder():
    assert refusal("steps.a.__ｃlass__").code == "E-EXPR-NAME"


@pytest.mark.parametrize(
    "text",
    [
        "params.text * params.n", "params.list * params.n", "[params.text == params.text for a in range(3000)]",
        "[params.deep == params.deep for a in range(3000)]", "[params.text.replace('a', 'bb') for a in range(100)]",
        "[x for x in params.list]", "sorted(params.list)", "params.text", "params.list", "params.deep", "str(params.deep)",
        "[params.text.split('a') for a in range(99)]", "[params.list + params.list for a in range(999)]",
        "params.n ** params.n", "[params.text[1:] for a in range(9000)]", "range(params.n)", "range(-params.n, params.n)",
        "[('a' * 98 + 'b') in params.text for a in range(9000)]", "f'{params.text}'", "params.text + params.text",
        "params.text.strip('b' * 99)", "''.join([params.text] * 9)", "[[params.text[i:]] * 60000 for i in range(500)]",
        "{k: params.list + [k] for k in [str(i) for i in range(2000)]}", "params.n * params.n * params.n",
        "[[[params.list] * 999] * 999] == [[[params.list] * 999] * 999]", "params.text.upper().lower() * 9",
    ],
)  # fmt: skip
def test_what_explodes_over_data_ends_within_its_budget(text):
    expression = parse(text)
    started = time.process_time()

    with pytest.raises(EvaluationError, match="budget"):
        expression.evaluate(HUGE)

    assert time.process_time() - started < 2


def test_what_explodes_over_data_does_so_in_bounded_memory():
    made = "[[params.text[i:]] * 60000 for i in range(500)]", "[('b' * params.size) + str(i) for i in range(9000)]"
    tracemalloc.start()

    answers = [answered(text, {"params": {**HUGE["params"], "size": 60_000}}) for text in made]

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(answer).__name__ for answer in answers] == ["BudgetExceeded", "BudgetExceeded"]
    assert peak < 64 << 20


def test_large_data_may_be_looked_at():
    assert evaluate("'b' in params.text or len(params.text) == 1000000", HUGE) is True
    assert evaluate("params.text != '' and params.list != []", HUGE) is True


def test_data_too_deep_to_print_are_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]

    for text in ("params.deep", "params.deep == [params.deep]", "str(params.deep)", "f'{params.deep}'"):
        with pytest.raises(EvaluationError, match="nested deeper"):
            evaluate(text, {"params": {"deep": deep}})


def test_a_failed_comprehension_leaves_no_names_behind():
    with pytest.raises(EvaluationError):
        evaluate("[item + 1 for item in ['a']]")

    assert evaluate("item", {"item": 5}) == 5


def test_threads_do_not_share_an_evaluation():
    answers: dict[int, list] = {}

    def work(number: int) -> None:
        expression = parse("[params.n + item for item in range(50)][-1]")
        answers[number] = [expression.evaluate({"params": {"n": number}}) for _ in range(100)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert answers == {number: [number + 49] * 100 for number in range(4)}


PIECES = st.sampled_from(
    ["params", ".x", "['y']", "[0]", " + ", " * ", "**", "9", "'a'", "(", ")", "[", "]", "{", "}", ",", " if ", " else ", " for ",
     " in ", "x", "len(", "str(", "range(", "sorted(", ".join(", ".replace(", "f'{", "}'", ":", " and ", " not ", "-", "\n", "lambda"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
@settings(max_examples=600, deadline=2000)
def test_any_text_is_refused_or_evaluated_or_has_no_value(text):
    answer = answered(text, {"params": {"x": ["b", {"y": 3}], "y": 2}, "item": "z"})

    assert isinstance(answer, ExpressionError | EvaluationError) or json.loads(json.dumps(answer)) == answer


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["result.x", "result[0]", "result == result", "len(result)", "result + result", "sorted(result)",
                              "[x for x in result]", "str(result)", "f'{result:>9}'", "result.keys()", "int(result)"]))  # fmt: skip
@settings(max_examples=400, deadline=2000)
def test_any_json_is_answered_or_has_no_value(value, text):
    answer = answered(text, {"result": value})

    assert not isinstance(answer, ExpressionError)
    assert not isinstance(answer, EvaluationError) or text in str(answer)


# --- templates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${{ params.n }}", 7),
        ("${{params.tags}}", ["a", "b"]),
        ("${{ params.none }}", None),
        ("n=${{ params.n }}, ${{ params.flag }}, ${{ params.none }}", "n=7, true, null"),
        ("tags: ${{ params.tags }}", 'tags: ["a","b"]'),
        (" ${{ params.n }}", " 7"),
        ("$${{ params.n }}", "${{ params.n }}"),
        ("$${{ a }} is ${{ params.n }}", "${{ a }} is 7"),
        ("${{ '}}' }}", "}}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{{'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("${{ f'{params.n}' }}", "7"),
        ("${{ '${{ params.n }}' }}", "${{ params.n }}"),
        ('${{ "it\'s" }}', "it's"),
        ("$ {{ x }} ${ {y} } }}", "$ {{ x }} ${ {y} } }}"),
        ({"a": ["${{ params.n }}", {"b": "x${{ params.n }}"}], "${{ k }}": 1}, {"a": [7, {"b": "x7"}], "${{ k }}": 1}),
        (5, 5),
        (None, None),
        ([], []),
    ],
)
def test_a_template_fills_its_texts(value, expected):
    assert template(value).render(SCOPE) == expected


def test_what_comes_out_is_data_and_never_rendered_again():
    hostile = {"params": {"x": "${{ params.secret }}", "secret": "leaked"}}

    assert template("${{ params.x }}").render(hostile) == "${{ params.secret }}"
    assert template("a ${{ params.x }}").render(hostile) == "a ${{ params.secret }}"


def test_a_template_knows_its_references():
    compiled = template({"a": "${{ steps.s.x }}", "b": ["${{ params.y }} ${{ steps.s.x }}"]})

    assert compiled.references == {("steps", "s", "x"), ("params", "y")}
    assert not compiled.constant
    assert template({"a": "$${{ x }}"}).constant
    assert template({"a": 1}).references == frozenset()


@pytest.mark.parametrize(
    ("value", "code", "offset", "path"),
    [
        ({"a": ["x", "y ${{ nope }}"]}, "E-EXPR-NAME", 6, ("a", 1)),
        ({"a": "${{ params.x"}, "E-EXPR-SYNTAX", 0, ("a",)),
        ({"a": "ok ${{ 'x }}"}, "E-EXPR-SYNTAX", 7, ("a",)),
        ("${{ }}", "E-EXPR-SYNTAX", 3, ()),
        ("${{ a }} }} ${{ b", "E-EXPR-NAME", 4, ()),
        ({"a": "${{ 9**9**9 }}"}, "E-EXPR-BUDGET", 4, ("a",)),
        ({"a": "${{" + "(" * 9_000}, "E-EXPR-BUDGET", 3, ("a",)),
        ("${{ params.n }}" * 1_001, "E-EXPR-BUDGET", 15_003, ()),
        ("${{ " + '"\\"' * 200_000, "E-EXPR-BUDGET", 3, ()),
        ("${{ " + '\\"' * 200_000, "E-EXPR-SYNTAX", 5, ()),
    ],
)
def test_a_wrong_template_names_its_place(value, code, offset, path):
    with pytest.raises(ExpressionError) as caught:
        template(value)

    assert caught.value.code == code
    assert caught.value.path == path
    assert caught.value.offset == offset


def test_a_template_takes_only_its_roots():
    with pytest.raises(ExpressionError, match="unknown name 'steps'"):
        template("${{ steps.a }}", frozenset({"params"}))


def test_a_value_too_deep_is_refused():
    deep: object = "${{ params.n }}"
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ExpressionError, match="nested deeper"):
        template(deep)


def test_many_expressions_share_one_budget():
    large = {"params": {"x": "y" * 60_000, "rows": list(range(9_000))}}

    with pytest.raises(EvaluationError, match="budget"):
        template(["${{ params.x }}"] * 20).render(large)
    with pytest.raises(EvaluationError, match="budget"):
        template([f"${{{{ len([r for r in params.rows if r > {n}]) }}}}" for n in range(50)]).render(large)


def test_a_template_that_has_no_value_raises():
    with pytest.raises(EvaluationError, match="index"):
        template({"a": "x ${{ result[9] }}"}).render(SCOPE)
