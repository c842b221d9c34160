"""Every module of the product and what it imports, read from the syntax trees: what the project tests stand on."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("reconciler", "definitions", "state")


@cache
@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, `__init__` files left out."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files if file.name != "__init__.py"
    }


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Dotted names that the module imports anywhere, inside functions too; `from a import b` counts as `a.b` and `a`."""
    return frozenset(_imported(tree(module)))


def _imported(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            yield each.module
            yield from (f"{each.module}.{alias.name}" for alias in each.names)


def libraries(module: str) -> frozenset[str]:
    """The top-level names of everything imported."""
    return frozenset(name.partition(".")[0] for name in imports(module))
