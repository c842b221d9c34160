"""Plain scalars as the YAML 1.2 core schema reads them.

PyYAML resolves YAML 1.1, where `no` is false, `1:30` is 90 and `010` is 8: surprises in files that start work. This
module reads the smaller, JSON-like schema and says when the older one would have read something else.
"""

import math
import re
from typing import Final

import yaml

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE: Final = re.compile(r"0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_A_NUMBER: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMERIC_START: Final = frozenset("+-.0123456789")
_LONGEST_INTEGER: Final = 20
_OLD_RESOLVERS: Final = yaml.SafeLoader.yaml_implicit_resolvers
_OLD_NAMES: Final = {"bool": "a boolean", "int": "an integer", "float": "a number", "timestamp": "a date"}


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar.

    Raises ValueError with a reason for people where it has no JSON value: .inf, .nan, integers beyond 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    return _number(text)


def ambiguity(text: str, value: Scalar) -> str | None:
    """What a YAML 1.1 parser would have made of the plain scalar `text`, or None if it agrees with `value`."""
    old = _old_kind(text)
    if old != _kind(value):
        return _OLD_NAMES.get(old, "text")
    if old == "int" and text.lstrip("+-").startswith("0") and value != 0 and "x" not in text:
        return "an octal integer"
    return None


def core_tag(text: str) -> str:
    """The tag that the core schema gives the plain scalar `text`, for writers that must know what to quote."""
    try:
        return f"tag:yaml.org,2002:{_kind(resolve(text))}"
    except ValueError:
        return "tag:yaml.org,2002:float"


def _number(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        return _integer(text, 10)
    if based := _OTHER_BASE.fullmatch(text):
        return _integer(text[2:], 8 if based["octal"] else 16)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_A_NUMBER.fullmatch(text):
        raise ValueError(f"{text} has no JSON value")
    return text


def _integer(text: str, base: int) -> int:
    sign = "-" if text[0] == "-" else ""
    digits = text.lstrip("+-").lstrip("0") or "0"
    if base == 10 and len(digits) > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits does not fit into 64 bits")
    value = int(sign + digits, base)
    if not -(2**63) <= value < 2**63:
        raise ValueError("the integer does not fit into 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the number is too large")
    return value


def _kind(value: Scalar) -> str:
    return "null" if value is None else type(value).__name__


def _old_kind(text: str) -> str:
    for tag, pattern in _OLD_RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            kind = str(tag).rpartition(":")[2]
            return kind if kind in _OLD_NAMES or kind == "null" else "str"
    return "str"
