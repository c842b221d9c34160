"""JSON values with `${{ … }}` in their texts, compiled to functions that fill the gaps.

A gap is only a number here; what it means and what filling it may cost is the business of `expressions`.
"""

from collections.abc import Callable, Iterator

from definitions.placeholders import Placeholder, split
from definitions.syntax import BUDGET, ExpressionError
from definitions.values import MAX_DEPTH, Json, spell

Path = tuple[str | int, ...]
Gap = Callable[[Placeholder, Path], int]  # takes note of an expression, answers its number
Fill = Callable[[Callable[[int], Json]], Json]  # given the value of each number, the whole value


def compile_value(value: Json, gap: Gap, path: Path = ()) -> Fill:
    """The function that makes `value` with its gaps filled. Raises ExpressionError and what `gap` raises."""
    if len(path) > MAX_DEPTH:
        raise ExpressionError(BUDGET, f"the value is nested deeper than {MAX_DEPTH} levels", path=path)
    if isinstance(value, str):
        return _text(value, gap, path)
    if isinstance(value, list):
        items = [compile_value(each, gap, (*path, index)) for index, each in enumerate(value)]
        return lambda values: [item(values) for item in items]
    if isinstance(value, dict):
        fields = [(key, compile_value(each, gap, (*path, key))) for key, each in value.items()]
        return lambda values: {key: field(values) for key, field in fields}
    return lambda values: value


def _text(text: str, gap: Gap, path: Path) -> Fill:
    if "${{" not in text:
        return lambda values: text
    pieces = [piece if isinstance(piece, str) else gap(piece, path) for piece in _split(text, path)]
    if len(pieces) == 1 and isinstance(number := pieces[0], int):
        return lambda values: values(number)
    return lambda values: "".join(piece if isinstance(piece, str) else spell(values(piece)) for piece in pieces)


def _split(text: str, path: Path) -> Iterator[str | Placeholder]:
    try:
        yield from split(text)
    except ExpressionError as error:
        raise ExpressionError(error.code, error.message, error.offset, path) from None
