"""When a running command is worth a look at its receipt: a look is an execution of its own and costs as much as one.

That the command still runs is the engine's cheap word; only its output is behind the receipt. So a look follows soon
after news, later after silence, and its own duration sets how much of a busy engine looks may take.
"""

from dataclasses import dataclass

_SOON = 1.0
_QUIET = 5.0
_SHARE = 20.0  # times the duration of a look lie between two of them
_LONGEST = 60.0


@dataclass(slots=True)
class Pace:
    """When the next look at one call is due. All times in seconds of one monotonic clock."""

    at: float = 0.0
    pause: float = _SOON / 2

    def due(self, now: float) -> bool:
        """Whether it is time for a look; the first one always is."""
        return now >= self.at

    def looked(self, began: float, now: float, *, news: bool) -> None:
        """A look from `began` until `now` found it running, with or without news."""
        wanted = _SOON if news else min(_QUIET, self.pause * 2)
        self.pause = min(_LONGEST, max(wanted, (now - began) * _SHARE))
        self.at = now + self.pause
