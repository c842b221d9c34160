"""Which names an expression may read at its place, and what exists behind them.

Rule 12 makes a missing *value* None; a missing *name* is a mistake of whoever wrote it and is found here, before
anything runs: an unknown root, step, output, call or parameter, and a value that does not exist yet at that place.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import Any

from definitions.documents import Path
from definitions.expressions import Expression, ExpressionError, Json, Template, parse, template
from definitions.findings import Report, listing, suggestion

TASK_FIELDS = frozenset({"name", "namespace", "uid", "run", "labels"})
"""What `task` has everywhere; `task.state` joins them in `onExit`."""

LOOP_FIELDS = frozenset({"index"})

Outputs = frozenset[str] | None
"""The outputs that something declares; None where they cannot be known now."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The names of one place. `steps` and `calls` are None where these roots do not exist at all."""

    params: Outputs
    steps: Mapping[str, Outputs] | None = None
    calls: Mapping[str, Outputs] | None = None
    later: frozenset[str] = frozenset()  # calls of the same step that come later
    more: frozenset[str] = frozenset()  # of result, results, item, loop
    result: Outputs = None  # what `result` has, where that is known: it is what a workflow gives
    task: frozenset[str] = TASK_FIELDS
    always: frozenset[str] = frozenset({"params", "task"})

    def plus(self, *roots: str) -> "Scope":
        """The same names and these roots."""
        return replace(self, more=self.more | set(roots))

    def giving(self, outputs: Outputs) -> "Scope":
        """The same names and a `result` that has just these `outputs`."""
        return replace(self.plus("result"), result=outputs)

    @property
    def roots(self) -> frozenset[str]:
        """The roots that exist here."""
        optional = {"steps": self.steps, "calls": self.calls}
        return self.always | self.more | {root for root, made in optional.items() if made is not None}

    def objection(self, reference: tuple[str, ...]) -> tuple[str, str] | None:
        """Code and message if `reference`, a dotted path from a root, names what does not exist here."""
        root, *names = reference
        if root not in self.roots:
            return "E-EXPR-NAME", f"`{root}` is not known here; known are {listing(sorted(self.roots))}"
        if root == "params":
            return _unknown(names, self.params, "parameter")
        if root in ("task", "loop", "result"):
            known = {"task": self.task, "loop": LOOP_FIELDS, "result": self.result}
            return _unknown(names, known[root], f"field of `{root}`")
        if root in ("steps", "calls"):
            return self._made(root, names)
        return None

    def _made(self, root: str, names: list[str]) -> tuple[str, str] | None:
        made = (self.steps if root == "steps" else self.calls) or {}
        if not names:
            return "E-REF", f"name one: `{root}.<key>`, so that it is known what this waits for"
        if root == "calls" and names[0] in self.later:
            return "E-REF", f"the call `{names[0]}` comes later; calls run one after the other"
        if names[0] not in made:
            what = "step" if root == "steps" else "call"
            return "E-GRAPH", f"unknown {what} `{names[0]}`{suggestion(names[0], made)}"
        return _unknown(names[1:], made[names[0]], f"output of `{root}.{names[0]}`")


def _unknown(names: list[str], known: Outputs, what: str) -> tuple[str, str] | None:
    if not names or known is None or names[0] in known:
        return None
    hint = suggestion(names[0], sorted(known)) or f"; declared: {listing(sorted(known))}"
    return "E-REF", f"`{names[0]}` is no {what}{hint}"


_BUILTINS = """
ArithmeticError AssertionError AttributeError BaseException Ellipsis Exception FileExistsError FileNotFoundError
ImportError IndexError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError
NameError NotADirectoryError NotImplemented NotImplementedError OSError OverflowError PermissionError
RecursionError RuntimeError StopIteration SyntaxError SystemExit TimeoutError TypeError UnboundLocalError
UnicodeDecodeError UnicodeEncodeError ValueError ZeroDivisionError abs all any bin bool bytes chr complex dict
divmod enumerate filter float format frozenset getattr hasattr hash hex id int isinstance iter len list map max
min next object oct ord pow print property range repr reversed round set setattr slice sorted str sum tuple type
zip
"""
BUILTINS = frozenset(_BUILTINS.split())
"""What code may call without importing it: what the sandbox has, but for files and for code made from text."""

_LISTS = ("results", "result", "response")
"""What code calls the list that it reduces: one thing, which a Job takes as a parameter of one of these names."""
_DATA_DEPTH = {"params": 2, "task": 2, "steps": 3, "calls": 3}


@dataclass(frozen=True, slots=True)
class Reads:
    """What code reads by name: `inputs` with a `${{ }}` for each value, and each objection's node, code and message."""

    inputs: dict[str, Json]
    objections: tuple[tuple[ast.AST, str, str], ...]


def code_reads(code: ast.AST, scope: Scope) -> Reads:
    """What `code` reads of `scope`; names that are neither data, builtins nor made by the code are objected to."""
    made = frozenset(_made(code))
    found: dict[tuple[str, ...], tuple[str, ...]] = {}  # path in the code -> path in the scope
    objections: list[tuple[ast.AST, str, str]] = []
    for node, keys in _chains(code):
        source = _source(keys[0], scope)
        if source is None:
            if keys[0] not in made | BUILTINS:
                objections.append((node, "E-EXPR-NAME", _unknown_name(keys[0], scope)))
            continue
        path = source if keys[0] in made else (*source, *keys[1:])
        if (objection := scope.objection(path)) is not None:
            objections.append((node, *objection))
        path = path[: max(len(source), _DATA_DEPTH.get(source[0], 1))]
        found[(keys[0], *path[len(source) :])] = path
    return Reads(_nested(found), tuple(objections))


def _source(name: str, scope: Scope) -> tuple[str, ...] | None:
    """Where the data called `name` are: a root, or the parameter that stands for one."""
    names = (name, *_LISTS) if name in _LISTS else (name,)
    roots = [(each,) for each in names if each in scope.roots]
    params = [("params", each) for each in names if each in (scope.params or ()) and name in (*_LISTS, "item", "loop")]
    return next(iter([*roots, *params]), None)


def _unknown_name(name: str, scope: Scope) -> str:
    known = sorted(scope.roots)
    hint = suggestion(name, [*known, *sorted(BUILTINS)]) or f"; data are {listing(known)}"
    return f"`{name[:60]}` is not known here{hint}"


def _made(code: ast.AST) -> Iterator[str]:
    """Names that the code gives to something, wherever it does."""
    for node in ast.walk(code):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            yield node.name or ""
        elif isinstance(node, ast.MatchMapping):
            yield node.rest or ""


def _chains(code: ast.AST) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Every name that is read, with the constant keys that follow it, as far as they are values and not methods."""
    methods = {id(node.func) for node in ast.walk(code) if isinstance(node, ast.Call)}
    inner: set[int] = set()
    for node in ast.walk(code):  # from the outside in, so a chain comes before its parts
        if id(node) in inner or (id(node) in methods and isinstance(node, ast.Attribute)):
            continue
        keys: list[str] = []
        base = node
        while isinstance(base, ast.Attribute | ast.Subscript):
            key = _key(base)
            keys = [key, *keys] if key else []  # what is known of the path ends before a computed key
            base = base.value
            inner.add(id(base))
        if isinstance(base, ast.Name) and isinstance(base.ctx, ast.Load):
            yield base, (base.id, *keys)


def _key(node: ast.Attribute | ast.Subscript) -> str:
    """The key that an expression can spell after a dot; "" if there is none."""
    if isinstance(node, ast.Attribute):
        key: object = node.attr
    else:
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
    return key if isinstance(key, str) and key.isidentifier() and not iskeyword(key) else ""


def _nested(found: Mapping[tuple[str, ...], tuple[str, ...]]) -> dict[str, Json]:
    """The paths as mappings in mappings, each value where the code looks for it; a whole value holds its parts."""
    inputs: dict[str, Any] = {}
    for keys, path in found.items():
        if not any(keys[:length] in found for length in range(1, len(keys))):
            place = inputs
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = f"${{{{ {'.'.join(path)} }}}}"
    return inputs


ANSWER = Scope(params=None, more=frozenset({"result"}), always=frozenset())
"""What a driver knows when it reads an answer by itself."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a document where expressions stand. `needs` gathers the steps they read, and where they do."""

    path: Path
    scope: Scope
    report: Report
    needs: dict[str, Path] = field(default_factory=dict)

    def at(self, *keys: str | int) -> "Site":
        """A place further in, with the same names."""
        return Site((*self.path, *keys), self.scope, self.report, self.needs)

    def plus(self, *roots: str) -> "Site":
        """The same place with more roots."""
        return self.within(self.scope.plus(*roots))

    def within(self, scope: Scope) -> "Site":
        """The same place with other names."""
        return Site(self.path, scope, self.report, self.needs)

    def expression(self, text: str) -> Expression | None:
        """`text` compiled and checked; None if that found a problem."""
        try:
            expression = parse(text)
        except ExpressionError as error:
            self.report.add(self.path, error.code, error.message)
            return None
        return expression if self._admit(expression.references, self.path) else None

    def template(self, value: Json) -> Template | None:
        """`value` compiled and checked; None if that found a problem."""
        try:
            compiled = template(value)
        except ExpressionError as error:
            self.report.add((*self.path, *error.path), error.code, error.message)
            return None
        found = [] if compiled.constant else list(texts(value))
        parts = [compiled] if len(found) == 1 else [template(text) for _, text in found]
        places = [(*self.path, *path) for path, _ in found]
        admitted = [self._admit(part.references, path) for part, path in zip(parts, places, strict=True)]
        return compiled if all(admitted) else None

    def _admit(self, references: Iterable[tuple[str, ...]], path: Path) -> bool:
        fine = True
        for reference in sorted(references):
            objection = self.scope.objection(reference)
            if objection is not None:
                self.report.add(path, *objection)
                fine = False
            elif reference[0] == "steps":
                self.needs.setdefault(reference[1], path)
        return fine


def texts(value: Json, path: Path = ()) -> Iterable[tuple[Path, str]]:
    """The texts in `value` that hold an expression, with their paths."""
    if isinstance(value, str):
        if "${{" in value:
            yield path, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from texts(each, (*path, index))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts(each, (*path, key))
