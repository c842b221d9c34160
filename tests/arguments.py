"""The command lines of the campaigns: a campaign of nothing must not pass for a good one, and one that fails says how to
play it again.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def again(module: str, *words: object) -> str:
    """The command that runs `module` of the tests with `words`, to be typed where the tree is."""
    python = Path(sys.executable)
    shown = python.relative_to(ROOT) if python.is_relative_to(ROOT) else python
    return shlex.join([str(shown), "-m", module, *map(str, words)])


def whole(least: int) -> Callable[[str], int]:
    """What `argparse` calls for a whole number of `least` or more; anything else is exit code 2 and one sentence."""

    def parsed(text: str) -> int:
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return parsed


def seconds(text: str) -> float:
    """What `argparse` calls for a length of time: a number, 0 or more."""
    try:
        if 0 <= (found := float(text)) < float("inf"):
            return found
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
