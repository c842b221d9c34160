"""Randomness by name: a roll depends on the seed and on what it is for, never on how many rolls came before it.

So a case keeps most of its luck while it is shrunk, and the same seed is the same world under every hash seed.
"""

import hashlib


class Chance:
    """The luck of one seed."""

    def __init__(self, seed: int) -> None:
        self._root = hashlib.blake2b(str(seed).encode(), digest_size=16)

    def roll(self, *about: object) -> float:
        """A number in [0, 1) for `about`."""
        each = self._root.copy()
        each.update("\0".join(map(str, about)).encode())
        return int.from_bytes(each.digest()[:6], "big") / (1 << 48)

    def between(self, low: float, high: float, *about: object) -> float:
        """A number in [low, high) for `about`, in whole milliseconds if it is a time."""
        return round(low + (high - low) * self.roll(*about), 3)
