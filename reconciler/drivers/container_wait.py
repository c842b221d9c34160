"""How long an engine that does not answer is waited for: nobody else can say what became of work in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from reconciler.drivers.container_log import Copy
from reconciler.drivers.engine import NoAnswer, Unreachable
from reconciler.drivers.protocol import NoNews, Observation

_LONGEST_PAUSE = 10.0


async def asked_until_answered(look: Callable[[], Awaitable[Observation]], copy: Copy, patience: float) -> Observation:
    """What `look` says, repeated while it raises Unreachable or NoAnswer; NoNews after `patience` seconds of that.

    It takes longer by what the engine lets one question wait for.
    """
    until, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            return await look()
        except (Unreachable, NoAnswer) as error:
            if time.monotonic() >= until:
                return NoNews(f"{error}; it is asked again until it answers")
            if pause == 0.5 and not copy.waits:
                copy.line(f"{error}; it is asked again until it answers")
                copy.waits = True
        await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(_LONGEST_PAUSE, pause * 2)
