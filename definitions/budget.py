"""What one evaluation may cost, and the error for what has no value.

Every operation pays for the size of what it reads and makes before doing so. So an expression ends after a bounded
time and within bounded memory, whatever it says and whatever the data are.
"""

import math
from typing import Any, Final

from definitions.values import spell, weigh

MAX_STEPS: Final = 10_000
MAX_TEXT: Final = 1 << 16


class EvaluationError(ValueError):
    """An expression has no value for these data; the message is for people."""


class BudgetExceeded(EvaluationError):
    """An expression needs more steps, memory or digits than one evaluation may use."""


class Budget:
    """The steps that are left. A step is about a microsecond: one node, 64 list items or some KiB of text."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Pay; raises BudgetExceeded when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise BudgetExceeded("too much work")

    def read(self, value: object) -> None:
        """Pay for looking at all of `value`, at any depth."""
        kind = type(value)
        if kind is str:
            self.spend(len(value) >> 13)  # type: ignore[arg-type]  # its type was just compared
        elif kind is list or kind is dict:
            self.spend(weigh(value, (self.left + 1) << 9) >> 9)

    def make_text(self, length: int) -> None:
        """Pay for a text of that many characters that an operation puts together."""
        if length > MAX_TEXT:
            raise BudgetExceeded(f"a text of more than {MAX_TEXT:,} characters")
        self.spend(length >> 10)

    def make_list(self, length: int) -> None:
        """Pay for a list of that many items."""
        self.spend(length >> 6)

    def search(self, text: str, part: str) -> None:
        """Pay for finding `part` in `text`."""
        self.spend((len(text) >> 13) + (len(text) * min(len(part), 100) >> 17))


def text_of(budget: Budget, value: Any) -> str:
    """`value` as it stands inside a text, see `spell`."""
    if type(value) is str:
        budget.make_text(len(value))
        return value
    budget.make_text(weigh(value, MAX_TEXT))
    return spell(value)


def number(value: Any) -> int | float:
    """`value` if it is a number that JSON can hold in 64 bits; raises BudgetExceeded or TypeError."""
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise BudgetExceeded("an integer of more than 64 bits")
        return value
    if not isinstance(value, float):
        raise TypeError(f"{kind(value)} is not a number")
    if not math.isfinite(value):
        raise BudgetExceeded("a number that is not finite")
    return value


def kind(value: object) -> str:
    """What people call the type of `value`."""
    return "None" if value is None else _KINDS.get(type(value), type(value).__name__)


_KINDS: Final = {
    str: "a text",
    list: "a list",
    dict: "a mapping",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}
