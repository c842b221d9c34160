"""A command in one running container: made, its id durable, then started, with a receipt where the container can keep one.

Expected flow: `prepare` finds out whether a receipt is possible and makes the execution, `start` starts it and listens
for a moment, `observe` asks the engine and the receipt. Guarantee: with a receipt the command runs at most one time for
a call, whoever crashes, also the engine. Without one the engine's word counts for as long as it remembers the id; after
that the outcome is unknown.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from reconciler.drivers import receipt
from reconciler.drivers.container_look import Looks
from reconciler.drivers.container_request import exec_options
from reconciler.drivers.container_stop import Stops
from reconciler.drivers.container_work import Keepings, Work, read_handle
from reconciler.drivers.engine import Engine, EngineError, NoAnswer, Refused, Unreachable
from reconciler.drivers.listening import Speech
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from reconciler.drivers.receipt import words
from state.records import Json

_LISTEN = 1.0  # seconds in which a short command ends: it needs no second look


class Executions:
    """The five methods of the driver for commands in running containers. Sizes in bytes."""

    def __init__(self, log_limit: int, result_limit: int) -> None:
        self._log_limit = log_limit
        self._keepings = Keepings()
        self._looks = Looks(result_limit)
        self._stops = Stops(self._looks, self._keepings)

    # -- the five methods --------------------------------------------------------------------------------------------

    async def prepare(self, work: Work) -> Json:
        """Make the execution; None where that is for `start` to explain."""
        try:
            return await self._made(work)
        except EngineError:
            return None

    async def start(self, work: Work, handle: Json) -> Observation:
        """Start it; what was started before is looked at instead."""
        made = read_handle(handle)
        if made is None:
            return await self._start_unprepared(work)
        try:
            return await self._started(work, made)
        except Unreachable as error:
            return NotStarted(f"nothing was sent: {error}", refused=True)
        except NoAnswer as error:
            return Unknown(f"the start was sent, then {error}")
        except Refused as error:
            seen = await self.observe(work, made)
            if isinstance(seen, NotStarted):
                return NotStarted(f"{error}; {seen.proof}", refused=True)
            return seen

    async def observe(self, work: Work, handle: Json) -> Observation:
        """What the engine and the receipt say; waits for an engine that does not answer."""
        return await self._looks.observe(work, handle)

    async def cancel(self, work: Work, handle: Json) -> Observation:
        """TERM to all of it in the container, after `grace` KILL. A result that was there first wins."""
        return await self._stops.stop(work, handle)

    async def remove(self, engine: Engine, container: str, stems: Sequence[str]) -> None:
        """Remove the receipts of these attempts; a container that is gone or stopped takes them with it."""
        try:
            made = await engine.execution(container, words(receipt.REMOVE, *stems), {"User": "0"})
            await engine.run(made)
        except Refused as error:
            if error.status not in {404, 409}:
                raise

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _made(self, work: Work) -> dict[str, Json]:
        """The handle of a new execution. Raises EngineError."""
        keeping = await self._keepings.of(work)
        said = work.words
        order: Sequence[str] = said.words
        options = exec_options(work.block)
        if keeping.able:
            blocks, length = max(1, self._log_limit // 2 // 512), len(work.stdin)
            order = words(receipt.RUN, f"run:{work.receipt}", str(blocks), str(length), said.mask, *said.shown)
        if work.stdin or (said.hidden and keeping.able):
            options |= {"AttachStdin": True}
        made = await work.engine.execution(work.target.id, order, options)
        return {"exec": made, "receipt": keeping.able, "lasting": keeping.lasting, **work.copy.copied}

    async def _start_unprepared(self, work: Work) -> Observation:
        """Without a durable id only a receipt can keep a command from running twice; it is asked first."""
        try:
            keeping = await self._keepings.of(work)
            if not keeping.able:
                made = await self._made(work)  # says why it cannot be made, if it cannot
                return NotStarted("it was not prepared, and is not started without that", refused=bool(made))
            seen = await self._looks.once(work, None)
            if not isinstance(seen, NotStarted):
                return seen
            return await self._started(work, await self._made(work))
        except Unreachable as error:
            return NotStarted(f"nothing was sent: {error}", refused=True)
        except NoAnswer as error:
            return Unknown(str(error))
        except Refused as error:
            return _refused(work, error)

    async def _started(self, work: Work, handle: dict[str, Json]) -> Observation:
        """Start the execution of `handle`. Raises EngineError."""
        if not handle["receipt"] and work.block.receipt == "always":
            why = (await self._keepings.of(work)).why
            return Ended(False, message=f"`receipt: always`, but {work.target.label} keeps none: {why}")
        if not handle["receipt"]:
            return await self._attach(work, handle)
        if work.call.resend:
            handle = await self._made(work)  # an engine may never answer to a second start; the receipt is the fence
        try:
            return await self._begun(work, handle)
        except Refused:
            # It has run, or its engine was started anew. The receipt is the fence, so another one may be made.
            seen = await self._became(work, handle)
            return await self._begun(work, await self._made(work)) if isinstance(seen, NotStarted) else seen

    async def _begun(self, work: Work, handle: dict[str, Json]) -> Observation:
        """Send the start and listen for a moment; whoever still speaks then is heard on. Raises EngineError."""
        began = time.monotonic()
        given = receipt.feed(work.words.hidden, work.stdin)
        speech = await work.engine.begin(str(handle["exec"]), given, listen=_LISTEN)
        work.copy.pace.looked(began, time.monotonic(), news=True)
        if isinstance(speech, Speech):
            work.copy.hush()
            work.copy.speech = speech
            await speech.hear(_LISTEN)
            if not speech.over:
                return Running({**handle, **work.copy.copied}, _LISTEN)
        return await self._became(work, handle)

    async def _became(self, work: Work, handle: dict[str, Json]) -> Observation:
        """What became of what was started; an engine that cannot be asked now has started it nevertheless."""
        try:
            return await self._looks.once(work, handle)
        except (Unreachable, NoAnswer) as error:
            return Unknown(f"the start was sent, then {error}")

    async def _attach(self, work: Work, handle: dict[str, Json]) -> Observation:
        """Start it and listen for as long as it runs: without a receipt nobody hears it later."""
        if work.call.resend:
            return Unknown(f"its start in {work.target.label} was cut short, and without a receipt it is not repeated")
        if work.stdin and work.engine.encrypted:
            message = (
                f"`stdin` without a receipt in {work.target.label}: over TLS nobody could tell the command that it ends"
            )
            return Ended(False, message=message)
        loop, key = asyncio.get_running_loop(), work.call.call_key
        state = await work.engine.started(str(handle["exec"]))
        if state is None or state["Running"] or state["ExitCode"] is not None:
            return await self._looks.once(work, handle)

        def take(data: bytes, stream: str) -> None:
            loop.call_soon_threadsafe(work.copy.take, data, stream)

        def done() -> None:
            with suppress(RuntimeError):  # the loop has ended before the command
                loop.call_soon_threadsafe(over.set)

        self._looks.attached[key] = over = asyncio.Event()
        work.engine.attach(str(handle["exec"]), work.stdin, take, done)
        try:
            async with asyncio.timeout(_LISTEN):
                await over.wait()
        except TimeoutError:
            return Running(handle, 0.2)
        return await self._became(work, handle)


def _refused(work: Work, error: Refused) -> Observation:
    """Why nothing was started: the container is gone, or does not run, or the engine does not want it."""
    if error.missing:
        return Ended(
            False, dict(work.target.about), None, f"TargetGone: {work.target.label} is gone; nothing was started"
        )
    return Ended(False, dict(work.target.about), None, f"nothing was started: {error}")
