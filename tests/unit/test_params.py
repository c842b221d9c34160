"""Casts that lose nothing, and errors that name the parameter."""

from typing import Any

import pytest

from definitions.models import WorkflowSpec
from definitions.params import ParamError, bind

STEPS = {"a": {"job": "x"}}


def bound(declared: Any, **values: Any) -> dict[str, Any]:
    params = WorkflowSpec.model_validate({"params": {"x": declared}, "steps": STEPS}).params
    return bind(params, values)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", "5", 5),
        ("integer", 5.0, 5),
        ("integer", "-7", -7),
        ("number", "1.5", 1.5),
        ("number", "2", 2),
        ("number", 3, 3),
        ("string", 5, "5"),
        ("string", 1.5, "1.5"),
        ("string", True, "true"),
        ("string", "as it is", "as it is"),
        ("boolean", "true", True),
        ("boolean", False, False),
        ("object", {"a": 1}, {"a": 1}),
        ("array", [1], [1]),
        ("any", [1, {"a": None}], [1, {"a": None}]),
        ("any", None, None),
    ],
)
def test_a_value_is_cast_without_loss(kind: str, given: Any, expected: Any) -> None:
    result = bound(kind, x=given)["x"]

    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("integer", "5.5"),
        ("integer", "five"),
        ("integer", True),
        ("integer", "9" * 400),
        ("integer", 2**63),
        ("integer", 1e300),
        ("number", "nan"),
        ("number", "inf"),
        ("number", float("inf")),
        ("number", "9" * 400),
        ("number", True),
        ("number", "1e999"),
        ("string", [1]),
        ("string", {"a": 1}),
        ("boolean", "yes"),
        ("boolean", 1),
        ("object", "{}"),
        ("array", "[]"),
    ],
)
def test_a_value_that_would_have_to_be_guessed_is_refused(kind: str, given: Any) -> None:
    with pytest.raises(ParamError, match=r"parameter `x` must be an? ") as caught:
        bound(kind, x=given)

    assert caught.value.name == "x"
    assert len(str(caught.value)) < 200


def test_a_default_applies_when_nothing_or_null_is_given() -> None:
    declared = {"type": "integer", "default": "5"}

    assert bound(declared) == bound(declared, x=None) == {"x": 5}


def test_a_parameter_without_value_and_default_is_named() -> None:
    with pytest.raises(ParamError, match=r"parameter `x` needs a value$"):
        bound("string")
    with pytest.raises(ParamError, match="needs a value, got null"):
        bound("string", x=None)


def test_an_optional_parameter_without_value_is_null() -> None:
    assert bound({"type": "string", "required": False}) == {"x": None}


def test_an_undeclared_parameter_is_refused() -> None:
    with pytest.raises(ParamError, match="`y` is not declared"):
        bound("string", x="a", y="b")


def test_only_the_listed_values_are_taken_and_true_is_not_one() -> None:
    declared = {"type": "any", "enum": [1, "a"]}

    assert bound(declared, x=1) == {"x": 1}
    with pytest.raises(ParamError, match="must be one of 1, 'a', not true"):
        bound(declared, x=True)
    with pytest.raises(ParamError, match="not '1'"):
        bound(declared, x="1")
