"""Expressions and `${{ … }}` templates over JSON values: the door to simpleeval.

simpleeval walks the tree; what the tree may contain (`grammar`), call (`functions`, `operators`) and cost (`budget`)
is ours. A missing attribute or key is None; an index out of range and wrong types raise. Results are data: they are
never parsed again.
"""

import ast
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, cast

import simpleeval

from definitions.budget import MAX_STEPS, MAX_TEXT, Budget, BudgetExceeded, EvaluationError, kind, text_of
from definitions.functions import FUNCTIONS, call_method
from definitions.grammar import check, static_format
from definitions.operators import OPERATORS
from definitions.placeholders import Placeholder
from definitions.syntax import BUDGET, ExpressionError, offset
from definitions.templates import Fill, Path, compile_value
from definitions.values import Json, weigh

__all__ = ["ROOTS", "EvaluationError", "Expression", "ExpressionError", "Json", "Template", "parse", "template"]

ROOTS: Final = frozenset({"params", "steps", "calls", "result", "results", "item", "loop", "task"})
MAX_EXPRESSIONS: Final = 1_000
MAX_RENDER_STEPS: Final = 10 * MAX_STEPS
MAX_RENDERED: Final = 1 << 20

_FAILURES: Final = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
    simpleeval.InvalidExpression,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. `references` are its static paths from a root: ("steps", "step1", "name").

    `path` is set if it is nothing but such a path, which needs no evaluator.
    """

    text: str
    roots: frozenset[str]
    references: frozenset[tuple[str, ...]] = field(compare=False)
    tree: ast.expr = field(repr=False, compare=False)
    path: tuple[str, ...] | None = field(repr=False, compare=False)

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """The value over `scope` (a JSON value for each root; one that is missing is None).

        It may share parts with `scope`: treat both as frozen. Raises EvaluationError, nothing else: after 10,000
        steps, beyond 64 KiB of result, and for what the data do not allow.
        """
        machine = _machine()
        machine.budget.left = MAX_STEPS
        return machine.run(self, scope)


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value with `${{ … }}` in its texts, compiled. `constant`: there are none."""

    roots: frozenset[str]
    references: frozenset[tuple[str, ...]]
    constant: bool
    _expressions: tuple[Expression, ...] = field(repr=False)
    _fill: Fill = field(repr=False)

    def render(self, scope: Mapping[str, Json]) -> Json:
        """The value with every expression filled in; data are never rendered again. Raises EvaluationError.

        A text that is one `${{ … }}` becomes the value itself; inside a text, values stand as `spell` writes them.
        """
        return self._fill(_Rendering(self._expressions, scope).value)


@lru_cache(maxsize=4096)
def parse(text: str, roots: frozenset[str] = ROOTS) -> Expression:
    """The expression that `text` says, which may name `roots`. Raises ExpressionError."""
    checked = check(text, roots)
    for part in checked.constants if checked.references else (checked.tree,):
        _refuse_bomb(text, part)
    return Expression(text, roots, checked.references, checked.tree, checked.path)


def template(value: Json, roots: frozenset[str] = ROOTS) -> Template:
    """Compile `value`. Raises ExpressionError with the `path` of the text in `value` and the `offset` in it."""
    found: list[Expression] = []

    def gap(placeholder: Placeholder, path: Path) -> int:
        found.append(_placed(placeholder, path, roots))
        if len(found) > MAX_EXPRESSIONS or sum(len(each.text) for each in found) > MAX_TEXT:
            raise ExpressionError(BUDGET, "too many expressions in one value", placeholder.offset, path)
        return len(found) - 1

    fill = compile_value(value, gap)
    references = frozenset(path for each in found for path in each.references)
    return Template(roots, references, not found, tuple(found), fill)


def _placed(placeholder: Placeholder, path: Path, roots: frozenset[str]) -> Expression:
    try:
        return parse(placeholder.expression, roots)
    except ExpressionError as error:
        raise ExpressionError(error.code, error.message, placeholder.offset + error.offset, path) from None


def _refuse_bomb(text: str, part: ast.expr) -> None:
    """Constants that explode show it when computed, within the same limits as later."""
    try:
        Expression(text, ROOTS, frozenset(), part, None).evaluate({})
    except BudgetExceeded as error:
        raise ExpressionError(BUDGET, str(error), offset(text, part)) from None
    except EvaluationError:
        return  # it fails when it is reached, if ever


class _Rendering:
    """One rendering: its expressions share a budget of steps and of characters."""

    def __init__(self, expressions: tuple[Expression, ...], scope: Mapping[str, Json]) -> None:
        self.expressions = expressions
        self.scope = scope
        self.steps = MAX_RENDER_STEPS
        self.room = MAX_RENDERED

    def value(self, number: int) -> Json:
        """The value of the expression of that number."""
        machine, expression = _machine(), self.expressions[number]
        granted = machine.budget.left = min(MAX_STEPS, self.steps)
        value = machine.run(expression, self.scope)
        self.steps -= granted - machine.budget.left
        self.room -= machine.size
        if self.room < 0:
            raise _failure(BudgetExceeded("more than 1 MiB of results in one value"), expression.text)
        return value


class _Machine(simpleeval.EvalWithCompoundTypes):  # type: ignore[misc]  # simpleeval ships no types
    """simpleeval over JSON values: a budget for each node, items instead of attributes, calls from closed tables.

    It keeps the scope while it runs, so there is one for each thread.
    """

    def __init__(self) -> None:
        self.budget = Budget()
        self.scope: Mapping[str, Json] = {}
        self.size = 0
        super().__init__(
            operators={node: partial(function, self.budget) for node, function in OPERATORS.items()},
            functions={name: partial(function, self.budget) for name, function in FUNCTIONS.items()},
            names={},
        )

    def run(self, expression: Expression, scope: Mapping[str, Json]) -> Json:
        """The value of `expression`, weighed; `size` tells its weight. Raises EvaluationError with the text in it."""
        self.scope, self._max_count = scope, 0
        try:
            value = _walk(expression.path, scope) if expression.path else self._eval(expression.tree)
            self.size = weigh(value, MAX_TEXT)
        except _FAILURES as error:
            raise _failure(error, expression.text) from None
        finally:
            self.scope = {}
        if self.size > MAX_TEXT:
            raise _failure(BudgetExceeded("a result of more than 64 KiB"), expression.text)
        return cast("Json", value)

    def _eval(self, node: ast.AST) -> Any:
        budget = self.budget
        budget.left -= 1
        if budget.left < 0:
            raise BudgetExceeded("too much work")
        return self.nodes[type(node)](node)

    def _eval_name(self, node: ast.Name) -> Any:
        return self.scope.get(node.id)

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        container = self._eval(node.value)
        return container.get(node.attr) if isinstance(container, dict) else None

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        container, key = self._eval(node.value), self._eval(node.slice)
        if container is None:
            return None
        if isinstance(container, dict):
            return container.get(key)
        if isinstance(container, str | list):
            return self._item(container, key)
        raise TypeError(f"{kind(container)} has no items")

    def _item(self, container: str | list[Any], key: Any) -> Any:
        if isinstance(key, slice):
            length = len(range(*key.indices(len(container))))
            self.budget.spend(length >> (10 if isinstance(container, str) else 6))
        return container[key]

    def _eval_call(self, node: ast.Call) -> Any:
        arguments = [self._eval(each) for each in node.args]
        if isinstance(node.func, ast.Attribute):
            return call_method(self.budget, node.func.attr, self._eval(node.func.value), arguments)
        return self.functions[cast("ast.Name", node.func).id](*arguments)

    def _eval_comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Any:
        made = super()._eval_comprehension(node)
        for key in made if isinstance(made, dict) else ():
            _text_key(key)
        return made

    def _eval_tuple(self, node: ast.Tuple) -> Any:
        return [self._eval(each) for each in node.elts]

    def _eval_dict(self, node: ast.Dict) -> Any:
        made: dict[str, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made |= self._spread(self._eval(value))
            else:
                made[_text_key(self._eval(key))] = self._eval(value)
        return made

    def _spread(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError(f"{kind(value)} cannot follow **")
        self.budget.spend(len(value) >> 4)
        return value

    def _eval_joinedstr(self, node: ast.JoinedStr) -> str:
        texts = [text_of(self.budget, self._eval(each)) for each in node.values]
        self.budget.make_text(sum(map(len, texts)))
        return "".join(texts)

    def _eval_formattedvalue(self, node: ast.FormattedValue) -> str:
        value = self._eval(node.value)
        form = static_format(node.format_spec)
        if not form:
            return text_of(self.budget, value)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return format(value if numeric else text_of(self.budget, value), form)


def _text_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the keys of a mapping are texts, not {kind(key)}")
    return key


def _walk(path: tuple[str, ...], scope: Mapping[str, Json]) -> Json:
    value = scope.get(path[0])
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _failure(error: BaseException, text: str) -> EvaluationError:
    message = f"{str(error) or type(error).__name__} in `{text.strip()[:200]}`"
    if isinstance(error, BudgetExceeded | simpleeval.IterableTooLong):
        return BudgetExceeded(f"over the budget of an expression: {message}")
    return EvaluationError(message)


_machines: Final = threading.local()


def _machine() -> _Machine:
    machine: _Machine | None = getattr(_machines, "current", None)
    if machine is None:
        machine = _machines.current = _Machine()
    return machine
