"""Finding `${{ … }}` in a text: where an expression begins and, past texts and brackets in it, where it ends."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from definitions.syntax import BUDGET, MAX_LENGTH, SYNTAX, ExpressionError

_START: Final = re.compile(r"\$?\$\{\{")
_TOKEN: Final = re.compile(
    r"\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''"  # texts of several lines
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"  # texts of one line
    r"|\}\}|[\[({\])}]|[\"']",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The text between `${{` and `}}`, and where it starts in the whole text (characters from 0)."""

    expression: str
    offset: int


def split(text: str) -> Iterator[str | Placeholder]:
    """The pieces of `text` in order; `$${{` stands for a literal `${{`. Raises ExpressionError if one is not closed."""
    position = 0
    while found := _START.search(text, position):
        if literal := text[position : found.start()]:
            yield literal
        if found[0].startswith("$$"):
            yield "${{"
            position = found.end()
        else:
            end = _end(text, found.end())
            yield Placeholder(text[found.end() : end], found.end())
            position = end + 2
    if position < len(text):
        yield text[position:]


def _end(text: str, start: int) -> int:
    """Where the `}}` stands that closes the expression at `start`."""
    limit = min(len(text), start + MAX_LENGTH + 4)
    depth, position = 0, start
    while token := _TOKEN.search(text, position, limit):
        symbol = token[0]
        if symbol in ('"', "'"):
            raise ExpressionError(SYNTAX, "a text in ${{ … }} is not closed", token.start())
        if symbol == "}}" and depth <= 0:
            return token.start()
        depth += (symbol in "([{") - (symbol in ")]}}")
        position = token.start() + 1 if symbol == "}}" else token.end()
    if limit < len(text):
        raise ExpressionError(BUDGET, f"longer than {MAX_LENGTH} characters, or not closed by }}}}", start)
    raise ExpressionError(SYNTAX, "${{ is not closed by }}", max(0, start - 3))
