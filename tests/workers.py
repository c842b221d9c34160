"""The processes of a campaign: whoever interrupts it speaks to the one that counts, which ends the others.

They tidy up first: a controller that is stopped, or a folder in memory, would stay for ever.
"""

import signal
import sys


def obey() -> None:
    """What each of them does at its start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
