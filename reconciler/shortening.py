"""Texts of definitions and targets may be of any length: how much of one people are shown.

What is cut goes from the middle, because the first words say what it is about and the last ones what may be done about
it. Programs get the whole text.
"""

TEXT_WIDTH = 400
"""So many characters of one text are shown."""


def shortened(text: str, width: int = TEXT_WIDTH) -> str:
    """`text` in about `width` characters; its last part, behind a semicolon, stays unless that is too long itself."""
    if len(text) <= width:
        return text
    before, _, last = text.rpartition("; ")
    if not before or len(last) > TEXT_WIDTH:
        return f"{text[: width - 1]}…"
    return f"{before[: max(width - len(last), width // 4)]}…; {last}"
