"""Values for parameters: defaults applied, types brought in line, everything else refused by name.

The old clients send numbers as text and take numbers for text, so casts that lose nothing are made; a value that would
have to be guessed is an error. The same rules hold at admission, for each call, and for constants at validation.
"""

import math
import re
from collections.abc import Mapping

from definitions.models import Param, ParamType
from definitions.values import Json, spell

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class ParamError(ValueError):
    """A parameter without a usable value; `name` says which, the text is for people."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"parameter `{name}` {message}")
        self.name = name


def bind(params: Mapping[str, Param], values: Mapping[str, Json]) -> dict[str, Json]:
    """A value for each declared parameter: the given one cast to its type, the default, or None. Raises ParamError.

    A null counts as not given, except where the type is `any`.
    """
    unknown = next((name for name in values if name not in params), None)
    if unknown is not None:
        raise ParamError(unknown, "is not declared")
    return {name: _value(name, param, values) for name, param in params.items()}


def cast(name: str, param: Param, value: Json) -> Json:
    """`value` as the type of `param`, checked against its `enum`. Raises ParamError."""
    fitting = _cast(name, param.type, value)
    if param.enum is not None and not any(_same(fitting, each) for each in param.enum):
        raise ParamError(name, f"must be one of {', '.join(map(_show, param.enum))}, not {_show(value)}")
    return fitting


def _value(name: str, param: Param, values: Mapping[str, Json]) -> Json:
    value = values.get(name)
    if value is not None or (name in values and param.type is ParamType.ANY):
        return cast(name, param, value)
    if param.default is not None:
        return cast(name, param, param.default)
    if param.needed:
        raise ParamError(name, "needs a value" if name not in values else "needs a value, got null")
    return None


def _cast(name: str, kind: ParamType, value: Json) -> Json:
    fitting = _CASTS[kind](value)
    if fitting is None and kind is not ParamType.ANY:
        raise ParamError(name, f"must be {_article(kind)}, not {_describe(value)}")
    return fitting


def _string(value: Json) -> Json:
    return spell(value) if isinstance(value, str | int | float) else None


def _integer(value: Json) -> Json:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _number(value: Json) -> Json:
    if isinstance(value, str) and len(value) <= 400 and _NUMBER.fullmatch(value.strip()):
        whole = _integer(value)
        value = float(value) if whole is None else whole
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else None


def _boolean(value: Json) -> Json:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _object(value: Json) -> Json:
    return value if isinstance(value, dict) else None


def _array(value: Json) -> Json:
    return value if isinstance(value, list) else None


def _any(value: Json) -> Json:
    return value


_CASTS = {
    ParamType.STRING: _string,
    ParamType.INTEGER: _integer,
    ParamType.NUMBER: _number,
    ParamType.BOOLEAN: _boolean,
    ParamType.OBJECT: _object,
    ParamType.ARRAY: _array,
    ParamType.ANY: _any,
}


def _same(value: Json, choice: Json) -> bool:
    """Equal as JSON: 1 and true are different things, "5" and 5 too."""
    return spell(value) == spell(choice) and isinstance(value, str) == isinstance(choice, str)


def _article(kind: ParamType) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _describe(value: Json) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return _show(value)
    return f"an {_KINDS[type(value)]}"


def _show(value: Json) -> str:
    text = repr(value) if isinstance(value, str) else spell(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
