"""The numbers that the campaigns take on their command lines: a campaign of nothing must not pass for a good one."""

import argparse
from collections.abc import Callable


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
