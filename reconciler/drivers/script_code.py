"""A script's body becomes the text that the sandbox runs: a function over the data it names, called at the end.

The sandbox has no hook for attributes of data, so `result[3].name` is rewritten to a call that answers None where there
is nothing, as in expressions. What the sandbox says about a line of that text is told as a place in the body.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from definitions.blocks import body_function, spot

_BEFORE = """\
def __attribute__(value, name):
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
def __answer__(value, most):
    import json
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        return [str(error)]
    return text if len(text) <= most else len(text)
"""
"""The answer leaves the sandbox as text: a list that holds itself often is small there and endless when walked here."""

MAX_PRINTED = 1 << 20
"""Characters."""

Place = tuple[int, int]  # line and column, both from 1


@dataclass(frozen=True, slots=True)
class Code:
    """The text to run. Its value is the result as JSON text, a list with why there is none, or its excessive length."""

    text: str
    body: str
    names: tuple[str, ...]

    def place(self, frames: Iterable[Place]) -> Place | None:
        """Where in the body it happened: the innermost of `frames` (the outermost first) that lies in the body."""
        places = _places(self.body, self.names)
        for line, column in reversed(list(frames)):
            known = [place for place in places if place[0] == line]
            if known:
                return places[min(known, key=lambda place: abs(place[1] - column))]
        return None


@lru_cache(maxsize=128)
def code(body: str, names: tuple[str, ...], most: int) -> Code:
    """The code of `body` over data called `names`, its result at most `most` characters of JSON. Raises BodyError."""
    function = ast.unparse(_rewritten(body_function(body, names)))
    return Code(f"{_BEFORE}{function}\n__answer__(__body__({', '.join(names)}), {most})\n", body, names)


def _places(body: str, names: tuple[str, ...]) -> dict[Place, Place]:
    """From places in the text to places in the body; worked out only where something went wrong."""
    function = _rewritten(body_function(body, names))
    text = _BEFORE + ast.unparse(function)
    written, run = body.split("\n"), text.split("\n")
    places: dict[Place, Place] = {}
    for before, after in zip(_inside(function), _inside(ast.parse(text).body[-1]), strict=False):
        if type(before) is not type(after):
            break  # from here on only the lines before are known
        places.setdefault(spot(run, after), spot(written, before))
    return places


def _rewritten(function: ast.FunctionDef) -> ast.FunctionDef:
    _Attributes().generic_visit(function)
    return ast.fix_missing_locations(function)


def _inside(function: ast.AST) -> Iterator[ast.AST]:
    """Statements and expressions, which parsing what was unparsed gives in the same order."""
    return (node for node in ast.walk(function) if isinstance(node, ast.stmt | ast.expr) and node is not function)


class _Attributes(ast.NodeTransformer):
    """Reading an attribute becomes a call; calling a method, assigning and matching stay as they are."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
        else:
            node.func = self.visit(node.func)
        node.args = [self.visit(each) for each in node.args]
        node.keywords = [self.visit(each) for each in node.keywords]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        node.value = self.visit(node.value)
        if not isinstance(node.ctx, ast.Load):
            return node
        getter = ast.Name("__attribute__", ast.Load())
        return ast.copy_location(ast.Call(getter, [node.value, ast.Constant(node.attr)], []), node)

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.MatchValue:
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.MatchClass:
        return node


class Printed:
    """What a body prints, up to a limit; more of it is a `flaw`, also where the body goes on."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self.flaw = ""
        self._left = MAX_PRINTED

    def __call__(self, stream: str, text: str) -> None:
        """Keep it; raises ValueError, inside the sandbox, when it is too much."""
        kept = text[: max(0, self._left)]
        self._left -= len(text)
        if kept:
            self.pieces.append((stream, kept))
        if self._left < 0:
            self.flaw = f"OutputTooLarge: it printed more than {MAX_PRINTED >> 10} KiB"
            raise ValueError(self.flaw)

    def clear(self) -> None:
        """Forget a run that did not end."""
        self.pieces.clear()
        self.flaw = ""
        self._left = MAX_PRINTED
