"""Small changes to a module, one at a time: what a slip of the hand would do to it.

Our own, because mutmut leaves alone what stands at the top of a module and everything decorated: of `state/phases.py`,
whose substance is one table, it changes three places.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_TYPES = {"annotation", "returns", "decorator_list", "type_comment"}
"""Fields of nodes that say what something is and not what it does."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """The `number`th change to a module: at `line`, and `what` it is."""

    number: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.line}: {self.what}"


def mutations(source: str) -> list[Mutation]:
    """Every change that there is to make."""
    change = _Change(-1)
    change.visit(ast.parse(source))
    return change.seen


def mutated(source: str, number: int) -> str:
    """The module with one change made; its comments are lost."""
    return ast.unparse(_Change(number).visit(ast.parse(source)))


class _Change(ast.NodeTransformer):
    """Counts the places in an order of its own, always the same, and changes one of them."""

    def __init__(self, wanted: int) -> None:
        self.seen: list[Mutation] = []
        self._wanted = wanted
        self._answers = True

    def visit(self, node: ast.AST) -> ast.AST:
        if _says_nothing(node):
            return node
        around, self._answers = self._answers, _answers(node, self._answers)
        try:
            return self._changed(node)
        finally:
            self._answers = around

    def _changed(self, node: ast.AST) -> ast.AST:
        changes = (new for new in _instead(node) if self._answers or not isinstance(node, ast.Return))
        # what a change is has to be said before it is made, and only when all are listed
        found = [(_what(node, new) if self._wanted < 0 else "", new) for new in changes]
        hidden = {name: getattr(node, name) for name in _TYPES if hasattr(node, name)}
        for name, value in hidden.items():
            setattr(node, name, [] if isinstance(value, list) else None)
        self.generic_visit(node)
        for name, value in hidden.items():
            setattr(node, name, value)
        for what, new in found:
            number = len(self.seen)
            self.seen.append(Mutation(number, getattr(node, "lineno", 0), what))
            if number == self._wanted:
                return ast.copy_location(new, node)
        return node


def _answers(node: ast.AST, around: bool) -> bool:
    """Whether what is returned here is an answer: in a function that returns None it is a manner of speaking."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return around
    return not (isinstance(node.returns, ast.Constant) and node.returns.value is None)


def _says_nothing(node: ast.AST) -> bool:
    """Types, texts and imports: whatever is wrong with them shows in other ways."""
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in {"TypeVar", "NewType"}
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise)


def _instead(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of `node`."""
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARISONS:
            yield ast.Compare(left, [_COMPARISONS[type(operator)]()], [right])
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If(test, body, orelse) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(ast.Call() | ast.YieldFrom() | ast.Await()):
            yield ast.Pass()
        case ast.Call(ast.Name("replace"), arguments, keywords):
            for each in keywords:
                yield ast.Call(ast.Name("replace"), arguments, [other for other in keywords if other is not each])
        case ast.Dict(keys, values):
            for number in range(len(keys)):
                yield ast.Dict(_without(keys, number), _without(values, number))
        case ast.Set(elements) if len(elements) > 1:
            for number in range(len(elements)):
                yield ast.Set(_without(elements, number))


def _without(items: list, number: int) -> list:
    return [*items[:number], *items[number + 1 :]]


def _what(old: ast.AST, new: ast.AST) -> str:
    """One line about the difference."""
    match old, new:
        case ast.Dict(), ast.Dict():
            before, after = ([*zip(each.keys, each.values, strict=True)] for each in (old, new))
            ((key, value),) = [item for item in before if item not in after]
            return f"without {ast.unparse(key) if key else '**'}: {_short(ast.unparse(value))}"
        case ast.If(), ast.If():
            return f"if {_short(ast.unparse(old.test))} -> if {_short(ast.unparse(new.test))}"
        case _:
            return f"{_short(ast.unparse(old))} -> {_short(ast.unparse(new))}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:28]} ... {line[-28:]}"
