"""Which names an expression may read at its place, and what exists behind them.

Rule 12 makes a missing *value* None; a missing *name* is a mistake of whoever wrote it and is found here, before
anything runs: an unknown root, step, output, call or parameter, and a value that does not exist yet at that place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from definitions.documents import Path
from definitions.expressions import Expression, ExpressionError, Json, Template, parse, template
from definitions.findings import Report, listing, suggestion

TASK_FIELDS = frozenset({"name", "namespace", "uid", "run", "labels"})
"""What `task` has everywhere; `task.state` joins them in `onExit`."""

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
    task: frozenset[str] = TASK_FIELDS
    always: frozenset[str] = frozenset({"params", "task"})

    def plus(self, *roots: str) -> "Scope":
        """The same names and these roots."""
        return replace(self, more=self.more | set(roots))

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
        if root == "task":
            return _unknown(names, self.task, "field of `task`")
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
