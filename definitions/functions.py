"""The closed table of the functions and methods of expressions.

No function takes or returns anything but JSON values and none looks anything up by name on an object: `.lower()` is a
row of a table for texts, not an attribute of a Python string. Each takes the budget first and pays before it works.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Final

from definitions.budget import Budget, BudgetExceeded, kind, number, text_of

MAX_RANGE: Final = 10_000
MAX_DIGITS: Final = 64
MAX_TRIMMED: Final = 64


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict | str):
        return list(value)
    raise TypeError(f"{kind(value)} has no items")


def _listed(budget: Budget, value: Any) -> list[Any]:
    items = _items(value)
    budget.make_list(len(items))
    return items


def _length(budget: Budget, value: Any, /) -> int:
    if not isinstance(value, str | list | dict):
        raise TypeError(f"{kind(value)} has no length")
    return len(value)


def _integer(budget: Budget, value: Any, /) -> int:
    budget.read(value)
    if isinstance(value, str | int | float):
        return int(number(int(value)))
    raise TypeError(f"{kind(value)} is not a number")


def _float(budget: Budget, value: Any, /) -> float:
    budget.read(value)
    if isinstance(value, str | int | float):
        return float(number(float(value)))
    raise TypeError(f"{kind(value)} is not a number")


def _extreme(choose: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def extreme(budget: Budget, first: Any, /, *others: Any) -> Any:
        candidates = [first, *others] if others else _listed(budget, first)
        budget.read(candidates)
        return choose(candidates)

    return extreme


def _absolute(budget: Budget, value: Any, /) -> Any:
    return number(abs(number(value)))


def _round(budget: Budget, value: Any, digits: Any = None, /) -> Any:
    if digits is None:
        return number(round(number(value)))
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise ValueError(f"cannot round to {digits!r:.20} digits")
    return number(round(number(value), digits))


def _sorted(budget: Budget, value: Any, /) -> list[Any]:
    items = _listed(budget, value)
    budget.read(items)
    return sorted(items)


def _sum(budget: Budget, value: Any, /) -> Any:
    return number(sum(number(each) for each in _listed(budget, value)))


def _any(budget: Budget, value: Any, /) -> bool:
    return any(_listed(budget, value))


def _all(budget: Budget, value: Any, /) -> bool:
    return all(_listed(budget, value))


def _range(budget: Budget, first: Any, second: Any = None, step: Any = 1, /) -> list[int]:
    numbers = range(first) if second is None else range(first, second, step)
    if numbers[MAX_RANGE:]:
        raise BudgetExceeded(f"a range of more than {MAX_RANGE:,} numbers")
    budget.make_list(len(numbers))
    return list(numbers)


def _zip(budget: Budget, first: Any, /, *others: Any) -> list[Any]:
    columns = [_listed(budget, each) for each in (first, *others)]
    budget.spend(min(map(len, columns)))
    return [list(row) for row in zip(*columns, strict=False)]


def _enumerate(budget: Budget, value: Any, start: Any = 0, /) -> list[Any]:
    items = _listed(budget, value)
    budget.spend(len(items))
    return [[index, each] for index, each in enumerate(items, start)]


def _truth(budget: Budget, value: Any, /) -> bool:
    return bool(value)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "len": _length,
    "str": text_of,
    "int": _integer,
    "float": _float,
    "bool": _truth,
    "min": _extreme(min),
    "max": _extreme(max),
    "abs": _absolute,
    "round": _round,
    "sum": _sum,
    "any": _any,
    "all": _all,
    "sorted": _sorted,
    "range": _range,
    "zip": _zip,
    "enumerate": _enumerate,
}


def _starts(budget: Budget, text: str, part: Any, /) -> bool:
    return text.startswith(part)


def _ends(budget: Budget, text: str, part: Any, /) -> bool:
    return text.endswith(part)


def _strip(budget: Budget, text: str, characters: Any = None, /) -> str:
    if characters is not None and len(characters) > MAX_TRIMMED:
        raise BudgetExceeded(f"more than {MAX_TRIMMED} characters to strip")
    budget.spend(len(text) >> 10)
    return text.strip(characters)


def _lower(budget: Budget, text: str, /) -> str:
    budget.spend(len(text) >> 10)
    return text.lower()


def _upper(budget: Budget, text: str, /) -> str:
    budget.spend(len(text) >> 10)
    return text.upper()


def _split(budget: Budget, text: str, separator: Any = None, most: Any = -1, /) -> list[str]:
    budget.search(text, separator or "")
    pieces = text.count(separator) if separator else len(text) >> 1
    budget.make_list(min(pieces, most) if isinstance(most, int) and most >= 0 else pieces)
    return text.split(separator, most)


def _replace(budget: Budget, text: str, old: Any, new: Any, /) -> str:
    budget.search(text, old)
    budget.make_text(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _join(budget: Budget, separator: str, value: Any, /) -> str:
    items = _listed(budget, value)
    budget.make_text(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _get(budget: Budget, mapping: dict[str, Any], key: Any, default: Any = None, /) -> Any:
    return mapping.get(key, default)


def _keys(budget: Budget, mapping: dict[str, Any], /) -> list[Any]:
    return _listed(budget, mapping)


def _values(budget: Budget, mapping: dict[str, Any], /) -> list[Any]:
    budget.make_list(len(mapping))
    return list(mapping.values())


def _pairs(budget: Budget, mapping: dict[str, Any], /) -> list[Any]:
    budget.spend(len(mapping))
    return [[key, value] for key, value in mapping.items()]


_TEXT_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "startswith": _starts,
    "endswith": _ends,
    "strip": _strip,
    "lower": _lower,
    "upper": _upper,
    "split": _split,
    "replace": _replace,
    "join": _join,
}
_MAPPING_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "get": _get,
    "keys": _keys,
    "values": _values,
    "items": _pairs,
}
METHODS: Final[Mapping[str, Callable[..., Any]]] = {**_TEXT_METHODS, **_MAPPING_METHODS}


def call_method(budget: Budget, name: str, receiver: Any, arguments: list[Any]) -> Any:
    """`receiver.name(*arguments)` by the closed table: of texts and mappings, never of Python objects."""
    wanted = str if name in _TEXT_METHODS else dict
    if type(receiver) is not wanted:
        raise TypeError(f"{kind(receiver)} has no .{name}()")
    return METHODS[name](budget, receiver, *arguments)


def arity(function: Callable[..., Any], bound: int) -> tuple[int, int]:
    """How many arguments at least and at most, after the first `bound` ones."""
    parameters = list(signature(function).parameters.values())[bound:]
    needed = sum(each.default is each.empty and each.kind is not each.VAR_POSITIONAL for each in parameters)
    unbounded = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return needed, 100 if unbounded else len(parameters)
