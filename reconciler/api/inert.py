"""Text that came from outside, made harmless to look at: no escape sequence, no hidden character, no reversed line.

Logs may hold anything a process printed. HTML escaping is the template's; this is about what would still act or
deceive when shown as text. The raw bytes stay available as text/plain.
"""

import re

_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in {0x09, 0x0A}} | {0x7F: 0x2421}
_DECEPTIVE = [*range(0x80, 0xA0), 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_TABLE = _PICTURES | dict.fromkeys(_DECEPTIVE, 0xFFFD)
_LINE_END = re.compile(r"\r\n")


def inert(text: str) -> str:
    """`text` with control characters as their pictures (ESC as ␛); tabs and line ends stay."""
    return _LINE_END.sub("\n", text).translate(_TABLE)


def inert_bytes(data: bytes) -> str:
    """As `inert`, of UTF-8 bytes; what is not UTF-8 becomes U+FFFD."""
    return inert(data.decode("utf-8", "replace"))
