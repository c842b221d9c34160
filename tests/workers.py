"""The processes of a campaign: whoever interrupts it speaks to the one that counts, which ends the others.

They tidy up first: a controller that is stopped, or a folder in memory, would stay for ever.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.pool import Pool

TIDYING_SECONDS = 10


@contextmanager
def crew(context: BaseContext, number: int, tasks: int) -> Iterator[Pool]:
    """A pool of `number` processes, each renewed after so many tasks.

    When the work is done they end by themselves: one that is told to while it waits for more may never hear it.
    """
    pool = context.Pool(number, obey, maxtasksperchild=tasks)
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()


def obey() -> None:
    """What each of them does at its start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _tidy_up)


def _tidy_up(*_: object) -> None:
    signal.alarm(TIDYING_SECONDS)  # a finalizer in which the exception comes swallows it
    sys.exit(1)
