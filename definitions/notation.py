"""How single values are written in a definition: durations, times, names, identifiers, text that may be a secret.

The models of kinds and of driver blocks are made from these, so a value reads the same wherever it stands.
"""

import re
import unicodedata
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_MAX_DURATION = timedelta(days=3650)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, format (bidi, zero width), no characters


def parse_duration(value: object) -> timedelta:
    """`1h30m`, `5s`, `250ms`, `2d` or a number of seconds as a timedelta; raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _bounded(float(value), value)
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return _bounded(sum(float(number) * _UNITS[unit] for number, unit in parts), value)
    raise ValueError(f"{value!r} is not a duration; write 30s, 5m, 1h30m, 2d or a number of seconds")


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as `value`."""
    seconds = value.total_seconds()
    if seconds and seconds == int(seconds):
        for unit in ("d", "h", "m"):
            if seconds % _UNITS[unit] == 0:
                return f"{int(seconds / _UNITS[unit])}{unit}"
        return f"{int(seconds)}s"
    return f"{round(seconds * 1000)}ms"


def _bounded(seconds: float, value: object) -> timedelta:
    if not 0 <= seconds <= _MAX_DURATION.total_seconds():
        raise ValueError(f"{value!r} is out of range; a duration lies between 0 and 10 years")
    return timedelta(seconds=seconds)


def _name(value: str) -> str:
    if value.isascii() and value.isprintable() and "/" not in value and value == value.strip():
        return value
    bad = next((char for char in value if char == "/" or unicodedata.category(char) in _HIDDEN), None)
    if bad is not None:
        raise ValueError(f"the character U+{ord(bad):04X} cannot stand in a name")
    if value != value.strip():
        raise ValueError("a name neither begins nor ends with a space")
    return value


def _identifier(value: str) -> str:
    if not value.isidentifier() or value.startswith("__"):
        raise ValueError(f"{value!r} is not an identifier: expressions name it, so it is made of letters, digits and _")
    return value


def parse_moment(text: str) -> datetime:
    """`2026-11-22T06:00Z` as a time; one without a zone would mean something else on another machine.

    Raises ValueError.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2026-11-22T06:00Z") from None
    return _zoned(value)


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; write 2026-11-22T06:00Z")
    return value


def _moment(value: object) -> object:
    if isinstance(value, str):
        return parse_moment(value)
    return _zoned(value) if isinstance(value, datetime) else value


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("0 s ends everything before it begins; for no limit leave it out")
    return value


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"},
        {"type": "number", "minimum": 0},
    ],
    "description": "30s, 5m, 1h30m, 2d, or a number of seconds",
}
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
TimeLimit = Annotated[Duration, AfterValidator(_some_time)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_name)]
Identifier = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_identifier)]
ExpressionText = Annotated[str, Field(min_length=1, max_length=10_000, description="a bare expression")]
Count = Annotated[int, Field(strict=True, ge=1)]


class Model(BaseModel):
    """Frozen, camelCase outside, no unknown keys, no conversions: `yes` is no boolean and 1 is no text."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
    )


class SecretReference(Model):
    """A value that is never in Git: `{secret: provider-path/key}`."""

    secret: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")]


def _is_reference(value: object) -> str:
    return "reference" if isinstance(value, dict | SecretReference) else "plain"


# told apart before they are read, so that a mistake is one message and not one for each branch
Text = Annotated[
    Annotated[str, Tag("plain")] | Annotated[SecretReference, Tag("reference")], Discriminator(_is_reference)
]
Word = Annotated[
    Annotated[str | int | float | bool, Tag("plain")] | Annotated[SecretReference, Tag("reference")],
    Discriminator(_is_reference),
]


_COMMIT = r"^(dir:)?[0-9a-f]{7,64}$"


def _commit(value: object) -> object:
    text = value if isinstance(value, str) else None
    if text is not None and re.match(_COMMIT, text):
        return text
    named = f"a commit by at least 7 digits (0-9, a-f), not {text!r:.60}"
    quoted = "text: put the commit in quotes, digit by digit as it is written"
    raise ValueError(f"`repin` must be {quoted if text is None else named}")


Commit = Annotated[str, Field(pattern=_COMMIT), BeforeValidator(_commit)]
"""A commit by all of its digits, or by the first 7 or more; of a folder behind `dir:`."""
