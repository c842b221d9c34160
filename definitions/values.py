"""JSON values: what documents, scopes and results are made of, weighed and spelled out.

Weighing comes before copying, comparing or printing, so a small expression cannot make a large value unseen.
"""

import json
import math
from collections.abc import Iterable

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_DEPTH = 64


def weigh(value: object, most: int) -> int:
    """The size of `value` as compact JSON in characters, escapes not counted; stops early once it is above `most`.

    Raises TypeError for what is not JSON, ValueError for numbers that are not finite and for nesting beyond 64 levels.
    Shared parts count each time they occur, as they would when written.
    """
    size, level = 0, [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[object] = []
        for each in level:
            size += _own_size(each, deeper)
            if size > most:
                return size
        if not deeper:
            return size
        level = deeper
    raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels")


def _own_size(value: object, deeper: list[object]) -> int:
    kind = type(value)
    if kind is str or value is None:
        return len(value) + 2 if isinstance(value, str) else 4
    if isinstance(value, list):
        deeper.extend(value)
        return len(value) + 2
    if isinstance(value, dict):
        deeper.extend(value.values())
        return 2 + _keys_size(value)
    if kind is float and not math.isfinite(value):  # type: ignore[arg-type]  # its type was just compared
        raise ValueError("the number is not finite")
    if isinstance(value, int | float):
        return int(abs(value)).bit_length() // 4 + 1
    raise TypeError(f"{kind.__name__} is not a JSON value")


def _keys_size(keys: Iterable[object]) -> int:
    size = 0
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"the keys of a mapping must be text, not {key!r:.40}")
        size += len(key) + 4
    return size


def spell(value: Json) -> str:
    """`value` inside a text: text as it is, everything else as compact JSON (true, null, [1,2])."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
