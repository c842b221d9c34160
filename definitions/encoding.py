"""The bytes of a definition file must be UTF-8 text of a bounded size; everything else is refused by its offset."""

import re
from typing import Final

from definitions.problems import Problem

MAX_BYTES: Final = 1 << 20

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK: Final = b"\xef\xbb\xbf"


def refusal(file: str, data: bytes) -> Problem | None:
    """The problem of bytes that are too many or not UTF-8 text, with the byte offset."""
    if len(data) > MAX_BYTES:
        return Problem(file, 1, 1, "E-SIZE", f"{len(data):,} bytes; at most {MAX_BYTES:,} are read")
    if data.startswith(_UTF16_MARKS):
        return Problem(file, 1, 1, "E-ENCODING", "UTF-16 at byte 0; files are UTF-8")
    if data.startswith(_UTF8_MARK):
        return Problem(file, 1, 1, "E-ENCODING", "byte order mark at byte 0; files are UTF-8 without one")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _encoding_problem(file, data[: error.start].decode(), f"0x{data[error.start]:02x} is not UTF-8")
    if found := _UNPRINTABLE.search(text):
        return _encoding_problem(file, text[: found.start()], f"the character U+{ord(found[0]):04X} is refused")
    return None


def _encoding_problem(file: str, before: str, what: str) -> Problem:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return Problem(file, line, column, "E-ENCODING", f"{what}, at byte {len(before.encode())}")
