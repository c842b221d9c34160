"""What an expression may say: a closed part of Python's syntax, checked once, before anything is evaluated.

Whatever is not listed here is refused, so the evaluator meets only nodes, names and calls from closed tables. The same
walk finds what the expression refers to.
"""

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from definitions.functions import FUNCTIONS, METHODS, arity
from definitions.operators import OPERATORS
from definitions.syntax import BUDGET, NAME, SYNTAX, ExpressionError, offset, tree

MAX_NODES: Final = 1_000
MAX_DEPTH: Final = 64

_ARITIES: Final = {
    **{name: arity(function, 1) for name, function in FUNCTIONS.items()},
    **{f".{name}": arity(function, 2) for name, function in METHODS.items()},
}
_FORMAT: Final = re.compile(r"[<>^]?[-+ ]?0?[0-9]{0,3},?(?:\.[0-9]{1,2})?[dfeg%sx]?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SINGLETONS: Final = (None, True, False)

Locals = frozenset[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A tree that keeps to the grammar."""

    tree: ast.expr
    references: frozenset[tuple[str, ...]]
    path: tuple[str, ...] | None  # of an expression that is nothing but root.name.name
    constants: tuple[ast.expr, ...]  # the largest computed parts without any name


def check(text: str, roots: frozenset[str]) -> Checked:
    """Parse `text` and prove that it keeps to the grammar. Raises ExpressionError, nothing else."""
    parsed = tree(text)
    walk = _Walk(text, roots)
    walk.visit(parsed, 0, frozenset())
    return Checked(parsed, frozenset(walk.references), _dotted(parsed), tuple(walk.constants))


def _dotted(node: ast.expr) -> tuple[str, ...] | None:
    keys: list[str] = []
    while isinstance(node, ast.Attribute):
        keys.append(node.attr)
        node = node.value
    return (node.id, *reversed(keys)) if isinstance(node, ast.Name) else None


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@dataclass(slots=True)
class _Walk:
    """One pass over one tree."""

    text: str
    roots: frozenset[str]
    references: set[tuple[str, ...]] = field(default_factory=set)
    constants: list[ast.expr] = field(default_factory=list)
    nodes: int = 0
    names: int = 0

    def refuse(self, node: ast.AST, message: str, code: str = NAME) -> ExpressionError:
        """The error for `node`, to raise."""
        return ExpressionError(code, message, offset(self.text, node))

    def visit(self, node: ast.AST, depth: int, local: Locals) -> None:
        """Prove that `node` and everything below it is allowed."""
        self.count(node, depth)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise self.refuse(node, f"{type(node).__name__} is not part of expressions")
        handler(self, node, depth + 1, local)

    def count(self, node: ast.AST, depth: int) -> None:
        """Nodes and depth are bounded, because evaluation recurses and pays for each node."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.refuse(node, f"more than {MAX_NODES} terms", BUDGET)
        if depth > MAX_DEPTH:
            raise self.refuse(node, f"nested deeper than {MAX_DEPTH} levels", BUDGET)

    def each(self, nodes: list[Any], depth: int, local: Locals) -> None:
        """Visit all of `nodes`."""
        for node in nodes:
            if node is not None:
                self.visit(node, depth, local)

    def root(self, node: ast.Name, keys: list[str], local: Locals) -> None:
        """A name, with the constant keys that follow it."""
        self.names += 1
        if node.id in local:
            return
        if _dunder(node.id):
            raise self.refuse(node, f"{node.id}: names with double underscores are refused")
        if node.id not in self.roots:
            known = ", ".join(sorted(self.roots)) or "none"
            raise self.refuse(node, f"unknown name {node.id!r:.60}; known here: {known}")
        self.references.add((node.id, *keys))


def _constant(walk: _Walk, node: ast.Constant, depth: int, local: Locals) -> None:
    value = node.value
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise walk.refuse(node, "the text contains half of a surrogate pair", SYNTAX)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise walk.refuse(node, "the integer does not fit into 64 bits", BUDGET)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise walk.refuse(node, "the number is too large", BUDGET)
    elif value is not None:
        raise walk.refuse(node, f"{type(value).__name__} is not a JSON value")


def _path(walk: _Walk, node: ast.expr, depth: int, local: Locals) -> None:
    """Names with attributes and items after them, from the last key to the root."""
    keys: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            key: object = node.attr
        else:
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            walk.visit(node.slice, depth, local)
        if isinstance(key, str):
            if _dunder(key):
                raise walk.refuse(node, f"{key}: names with double underscores are refused")
            keys.append(key)
        else:
            keys.clear()  # what is known of the path ends before a computed key
        node = node.value
        depth += 1
        walk.count(node, depth)
    if isinstance(node, ast.Name):
        walk.root(node, keys[::-1], local)
    else:
        walk.visit(node, depth, local)


def _slice(walk: _Walk, node: ast.Slice, depth: int, local: Locals) -> None:
    walk.each([node.lower, node.upper, node.step], depth, local)


def _operator(walk: _Walk, node: ast.BinOp | ast.UnaryOp, depth: int, local: Locals) -> None:
    if type(node.op) not in OPERATORS:
        raise walk.refuse(node, f"the operator {type(node.op).__name__} is not part of expressions")
    names, known = walk.names, len(walk.constants)
    walk.each([node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand], depth, local)
    if walk.names == names:
        walk.constants[known:] = [node]


def _logic(walk: _Walk, node: ast.BoolOp, depth: int, local: Locals) -> None:
    walk.each(list(node.values), depth, local)


def _compare(walk: _Walk, node: ast.Compare, depth: int, local: Locals) -> None:
    for sign, right in zip(node.ops, node.comparators, strict=True):
        singleton = isinstance(right, ast.Constant) and any(right.value is each for each in _SINGLETONS)
        if isinstance(sign, ast.Is | ast.IsNot) and not singleton:
            raise walk.refuse(right, "`is` compares with None, True or False only: write ==")
    walk.each([node.left, *node.comparators], depth, local)


def _choice(walk: _Walk, node: ast.IfExp, depth: int, local: Locals) -> None:
    walk.each([node.test, node.body, node.orelse], depth, local)


def _sequence(walk: _Walk, node: ast.List | ast.Tuple, depth: int, local: Locals) -> None:
    walk.each(list(node.elts), depth, local)


def _mapping(walk: _Walk, node: ast.Dict, depth: int, local: Locals) -> None:
    walk.each([*node.keys, *node.values], depth, local)


def _call(walk: _Walk, node: ast.Call, depth: int, local: Locals) -> None:
    name = _called(walk, node, depth, local)
    if node.keywords:
        raise walk.refuse(node, f"{name}() takes no named arguments here")
    least, most = _ARITIES[name]
    if not least <= len(node.args) <= most:
        count = f"{least}" if least == most else f"{least} to {most}"
        raise walk.refuse(node, f"{name}() takes {count} arguments, not {len(node.args)}", SYNTAX)
    walk.each(list(node.args), depth, local)


def _called(walk: _Walk, node: ast.Call, depth: int, local: Locals) -> str:
    if isinstance(node.func, ast.Attribute):
        name = f".{node.func.attr}"
        if name in _ARITIES:
            walk.visit(node.func.value, depth, local)
            return name
        raise walk.refuse(node, f"unknown method {name[:60]}(); known: {', '.join(METHODS)}")
    if isinstance(node.func, ast.Name):
        if node.func.id in FUNCTIONS and node.func.id not in local:
            return node.func.id
        raise walk.refuse(node, f"unknown function {node.func.id[:60]}(); known: {', '.join(FUNCTIONS)}")
    raise walk.refuse(node, "only the functions of expressions can be called")


def _comprehension(
    walk: _Walk, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, depth: int, local: Locals
) -> None:
    depth += 2 + len(node.generators)  # the evaluator needs more frames for it
    for generator in node.generators:
        if generator.is_async:
            raise walk.refuse(node, "async is not part of expressions")
        walk.visit(generator.iter, depth, local)
        local |= _targets(walk, generator.target, depth)
        walk.each(list(generator.ifs), depth, local)
    walk.each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], depth, local)


def _targets(walk: _Walk, node: ast.expr, depth: int) -> Locals:
    walk.count(node, depth)
    if isinstance(node, ast.Tuple | ast.List):
        return frozenset().union(*(_targets(walk, each, depth + 1) for each in node.elts))
    if not isinstance(node, ast.Name) or _dunder(node.id) or node.id in FUNCTIONS:
        raise walk.refuse(node, "a comprehension binds plain names that are not functions")
    return frozenset({node.id})


def _joined(walk: _Walk, node: ast.JoinedStr, depth: int, local: Locals) -> None:
    walk.each(list(node.values), depth, local)


def _formatted(walk: _Walk, node: ast.FormattedValue, depth: int, local: Locals) -> None:
    if node.conversion not in (-1, ord("s")):
        raise walk.refuse(node, "the conversions !r and !a are not part of expressions")
    if node.format_spec is not None and static_format(node.format_spec) is None:
        raise walk.refuse(node, "a format is fixed and simple here, such as 02d, .2f or >10")
    walk.visit(node.value, depth, local)


def static_format(node: ast.expr | None) -> str | None:
    """The format of an f-string field if it is a plain, harmless text; None if it is not."""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    joined = "".join(texts)
    return joined if len(texts) == len(parts) and _FORMAT.fullmatch(joined) else None


_HANDLERS: Final[dict[type[ast.AST], Callable[..., None]]] = {
    ast.Constant: _constant,
    ast.Name: _path,
    ast.Attribute: _path,
    ast.Subscript: _path,
    ast.Slice: _slice,
    ast.BinOp: _operator,
    ast.UnaryOp: _operator,
    ast.BoolOp: _logic,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Dict: _mapping,
    ast.Call: _call,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
}
