"""The end of a command in a container from outside: all that came of it is told, then killed, and what is left is named."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from reconciler.drivers import receipt
from reconciler.drivers.container_look import Looks
from reconciler.drivers.container_work import Keepings, Work, read_handle
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from reconciler.drivers.receipt import read_report, words
from state.records import Json

_SETTLE = 5.0  # seconds that a killed command may need until its end is written down


class Stops:
    """Ends commands in containers."""

    def __init__(self, looks: Looks, keepings: Keepings) -> None:
        self._looks = looks
        self._keepings = keepings

    async def stop(self, work: Work, handle: Json) -> Observation:
        """TERM to all of it in the container, after `grace` KILL. A result that was there first wins."""
        limit = work.block.grace.total_seconds() + 60.0
        try:
            async with asyncio.timeout(limit):
                return await self._cancelled(work, handle)
        except TimeoutError:
            return Unknown(f"its engine does not answer: the command may still run in {work.target.label}")

    async def _cancelled(self, work: Work, handle: Json) -> Observation:
        seen = await self._seen(work, handle)
        if isinstance(seen, NotStarted) and (await self._keepings.of(work)).able:
            said = await self._service(work, words(receipt.FORBID, work.receipt), work.block.user or "")
            report = read_report(said, b"")
            if report and report.state == "forbidden":
                return Ended(False, message="cancelled before it started", cleanup=True, cancelled=True)
            seen = await self._seen(work, handle)
        if not isinstance(seen, Running):
            return seen
        if not (await self._keepings.of(work)).able:
            return await self._unstoppable(work, handle)
        for signal, seconds in (("TERM", work.block.grace.total_seconds()), ("KILL", _SETTLE)):
            await self._signal(work, signal)
            seen = await self._until_over(work, handle, seconds)
            if not isinstance(seen, Running):
                break
        left = (await self._signal(work, "0")).split()
        if isinstance(seen, Ended) and not left:
            return seen if seen.succeeded else replace(seen, message=f"cancelled: {seen.message}", cancelled=True)
        names = b", ".join(left).decode(errors="replace") or "unknown"
        return Unknown(f"it was told to end, but in {work.target.label} may still run: processes {names}")

    async def _unstoppable(self, work: Work, handle: Json) -> Observation:
        made = read_handle(handle)
        state = await work.engine.started(str(made["exec"])) if made else None
        number = f"process {state['Pid']} of its host" if state and state.get("Pid") else "its process"
        why = (await self._keepings.of(work)).why
        return Unknown(f"{number} may still run in {work.target.label}: it cannot be stopped from outside ({why})")

    async def _seen(self, work: Work, handle: Json) -> Observation:
        """What has become of it, whenever the engine says so: whoever stops it has a deadline of his own."""
        return await self._looks.observe(work, handle, whole=True, patience=inf)

    async def _until_over(self, work: Work, handle: Json, seconds: float) -> Observation:
        until, pause = time.monotonic() + seconds, 0.1
        while isinstance(seen := await self._seen(work, handle), Running) and time.monotonic() < until:
            await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(1.0, pause * 2)
        return seen

    async def _signal(self, work: Work, signal: str) -> bytes:
        """Send it as the user of the command, who can see all of it, and as root, who may signal all of it."""
        users = dict.fromkeys(("0", work.block.user or "0"))
        said = [await self._service(work, words(receipt.SIGNAL, work.receipt, signal), user) for user in users]
        return b"\n".join(said)

    async def _service(self, work: Work, order: Sequence[str], user: str) -> bytes:
        made = await work.engine.execution(work.target.id, order, {"User": user} if user else {})
        return (await work.engine.run(made)).stdout
