"""What a target answered becomes a JSON value, or a reason why it cannot: answers come from strangers."""

import json
from typing import Final

from definitions.values import Json, weigh

MAX_DEPTH: Final = 32


class BadAnswer(ValueError):
    """The answer cannot be used. The text begins with a code: OutputTooLarge, OutputInvalid or NotJson."""


def parse(data: bytes, limit: int) -> Json:
    """The JSON value in `data`. Raises BadAnswer for no JSON, more than `limit` bytes of it, or more than 32 levels."""
    try:
        value: Json = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadAnswer(f"OutputInvalid: JSON nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise BadAnswer(
            "NotJson: the answer is not JSON" if data.strip() else "NotJson: the answer is empty, not JSON"
        ) from None
    check(value, limit)
    return value


def check(value: Json, limit: int) -> None:
    """Raises BadAnswer if `value` is larger as JSON than `limit` bytes, nested too deep, or holds text that is no text."""
    if _depth(value) > MAX_DEPTH:
        raise BadAnswer(f"OutputInvalid: JSON nested deeper than {MAX_DEPTH} levels")
    try:
        size = weigh(value, limit)
        size = size if size > limit else len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    except UnicodeEncodeError:
        raise BadAnswer("OutputInvalid: a text in the answer holds half of a character") from None
    except ValueError as error:
        raise BadAnswer(f"OutputInvalid: {error}") from None
    if size > limit:
        raise BadAnswer(f"OutputTooLarge: the result is larger than {limit} bytes (setting `limits.output`)")


def text(data: bytes, limit: int) -> str:
    """The first `limit` bytes as text; what is not UTF-8 becomes a replacement character."""
    return data[:limit].decode(errors="replace")


def brief(value: str, length: int = 200) -> str:
    """The first characters of `value` on one line, without control characters: for a message."""
    printable = "".join(char if char.isprintable() else " " for char in value[: length * 2])
    line = " ".join(printable.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _refuse_constant(name: str) -> Json:
    raise ValueError(name)


def _depth(value: Json) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        deeper: list[Json] = []
        for each in level:
            if isinstance(each, dict):
                deeper.extend(each.values())
            elif isinstance(each, list):
                deeper.extend(each)
        depth, level = depth + 1, deeper
    return depth - 1 if not level else depth
