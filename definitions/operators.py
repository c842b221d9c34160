"""The closed table of the operators of expressions: Python's, on JSON values, within 64 bits and the budget."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from definitions.budget import Budget, BudgetExceeded, kind, number

MAX_EXPONENT: Final = 64


def _add(budget: Budget, left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        budget.make_text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        budget.make_list(len(left) + len(right))
        return left + right
    return number(_numeric("+", operator.add, left, right))


def _multiply(budget: Budget, left: Any, right: Any) -> Any:
    if isinstance(right, str | list):
        left, right = right, left
    if isinstance(left, str | list) and isinstance(right, int):
        repeated = len(left) * max(right, 0)
        (budget.make_text if isinstance(left, str) else budget.make_list)(repeated)
        return left * (right if repeated else 0)
    return number(_numeric("*", operator.mul, left, right))


def _power(budget: Budget, left: Any, right: Any) -> Any:
    if isinstance(right, int) and right > MAX_EXPONENT and isinstance(left, int) and abs(left) > 1:
        raise BudgetExceeded(f"an exponent above {MAX_EXPONENT}")
    return number(_numeric("**", operator.pow, left, right))


def _numeric(sign: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise TypeError(f"cannot compute {kind(left)} {sign} {kind(right)}")
    return function(number(left), number(right))


def _arithmetic(sign: str, function: Callable[[Any, Any], Any]) -> Callable[[Budget, Any, Any], Any]:
    return lambda budget, left, right: number(_numeric(sign, function, left, right))


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[[Budget, Any, Any], Any]:
    def compare(budget: Budget, left: Any, right: Any) -> Any:
        if type(left) is type(right):
            budget.read(left)
        return function(left, right)

    return compare


def _contains(budget: Budget, part: Any, whole: Any) -> bool:
    if isinstance(whole, str) and isinstance(part, str):
        budget.search(whole, part)
    elif isinstance(whole, list):
        budget.read(whole)
    elif not isinstance(whole, dict):
        raise TypeError(f"{kind(whole)} cannot contain {kind(part)}")
    return part in whole


def _negate(budget: Budget, value: Any) -> Any:
    return number(-number(value))


OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: _add,
    ast.Mult: _multiply,
    ast.Pow: _power,
    ast.Sub: _arithmetic("-", operator.sub),
    ast.Div: _arithmetic("/", operator.truediv),
    ast.FloorDiv: _arithmetic("//", operator.floordiv),
    ast.Mod: _arithmetic("%", operator.mod),
    ast.USub: _negate,
    ast.UAdd: lambda budget, value: number(value),
    ast.Not: lambda budget, value: not value,
    ast.Eq: _comparison(operator.eq),
    ast.NotEq: _comparison(operator.ne),
    ast.Lt: _comparison(operator.lt),
    ast.LtE: _comparison(operator.le),
    ast.Gt: _comparison(operator.gt),
    ast.GtE: _comparison(operator.ge),
    ast.In: _contains,
    ast.NotIn: lambda budget, part, whole: not _contains(budget, part, whole),
    ast.Is: lambda budget, left, right: left is right,
    ast.IsNot: lambda budget, left, right: left is not right,
}
