"""Values as YAML on one line, plain where nobody could misread them and quoted where somebody could."""

import json
import re

from definitions.scalars import ambiguity, core_tag
from definitions.values import Json

_PLAIN = re.compile(r"\w(?:[\w ./+@()%=-]|:(?=\w))*")
_TEXT = "tag:yaml.org,2002:str"
_SHORT_ESCAPE = 0x100
_LONG_ESCAPE = 0x10000


def written(value: Json | int) -> str:
    """`value` as it can stand inside brackets and behind a key; `definitions.documents.read` gives the same value back."""
    if isinstance(value, str):
        return value if _is_plain(value) else _quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    """Whether no reader, old or new, takes the bare text for anything but this text."""
    if not _PLAIN.fullmatch(text) or text != text.strip() or not text.isprintable():
        return False
    return core_tag(text) == _TEXT and ambiguity(text, text) is None


def _quoted(text: str) -> str:
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    code = ord(char)
    if code < _SHORT_ESCAPE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _LONG_ESCAPE else f"\\U{code:08x}"
