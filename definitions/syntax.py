"""Text to syntax tree: Python's own parser, with every way in which it gives up turned into one error."""

import ast
import warnings
from typing import Final

MAX_LENGTH: Final = 8_192

SYNTAX: Final = "E-EXPR-SYNTAX"
NAME: Final = "E-EXPR-NAME"
BUDGET: Final = "E-EXPR-BUDGET"

_TOO_COMPLEX: Final = ("too many nested", "too complex", "Exceeds the limit")


class ExpressionError(ValueError):
    """An expression that is refused.

    `code` is E-EXPR-SYNTAX (not an expression), E-EXPR-NAME (a name, function or construct outside the closed set) or
    E-EXPR-BUDGET (too long, too deep, constants that explode); `offset` counts characters from the start of the text;
    `path` leads to the text in a template's value.
    """

    def __init__(self, code: str, message: str, offset: int = 0, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset
        self.path = path


def tree(text: str) -> ast.expr:
    """The tree of an expression; white space around it does not matter. Raises ExpressionError, nothing else."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(BUDGET, f"longer than {MAX_LENGTH} characters")
    if not (stripped := text.strip()):
        raise ExpressionError(SYNTAX, "the expression is empty")
    start = text.index(stripped[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(stripped, mode="eval").body
    except SyntaxError as error:
        message = (error.msg or "not an expression").partition(";")[0]
        code = BUDGET if any(sign in message for sign in _TOO_COMPLEX) else SYNTAX
        raise ExpressionError(code, message, start + max(0, (error.offset or 1) - 1)) from None
    except (MemoryError, RecursionError):
        raise ExpressionError(BUDGET, "nested too deeply", start) from None
    except ValueError as error:
        raise ExpressionError(SYNTAX, str(error), start) from None


def offset(text: str, node: ast.AST) -> int:
    """Where `node` of `tree(text)` starts in `text`, in characters; the parser counts lines and UTF-8 bytes."""
    stripped = text.strip()
    lines = stripped.split("\n")
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    before = sum(len(each) + 1 for each in lines[: line - 1])
    inside = len(lines[line - 1].encode(errors="replace")[:column].decode(errors="ignore")) if line <= len(lines) else 0
    return text.index(stripped[0]) + before + inside
