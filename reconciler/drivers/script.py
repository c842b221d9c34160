"""The script driver: Python-syntax code over data, run by pydantic-monty in a worker process that has no I/O.

The door to pydantic-monty. Code without effects may always run again, so a worker that dies under it, or a controller
that dies beside it, costs one more run and nothing else. Time, memory, depth and output are limited, clock and chance
are fixed for a call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from definitions.blocks import BodyError
from reconciler import clock
from reconciler.drivers.answer import BadAnswer, brief, parse
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation
from reconciler.drivers.request import GatheredLog, GuardedLog, LogWriter, fill, without_secrets
from reconciler.drivers.script_code import Code, Printed, code
from reconciler.secrets.provider import SecretUnavailable
from state.records import Json

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty, MontyError, OSPolicy, ResourceLimits

MISSING = "the script driver is not part of this installation: it comes with the extra `script` of the package"
MAX_CALL_DEPTH = 100

_WORKERS = 2
_REMEMBERED = 64  # results, so that one that was faster wins over a stop
_BACKSTOP = 2.5  # seconds after its time in which a worker has to stop by itself

_LONG = 4096  # characters

Inputs = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


def available() -> bool:
    """Whether the sandbox is installed."""
    return find_spec("pydantic_monty") is not None


class ScriptDriver:
    """Runs bodies, two at a time. `seconds` and `memory` (bytes) are what one run may use; `now` is asked once a call."""

    def __init__(
        self,
        *,
        seconds: float = 0.5,
        memory: int = 32 << 20,
        result_limit: int = 64 << 10,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._seconds = seconds
        self._memory = memory
        self._result_limit = result_limit
        self._now = now
        self._room = asyncio.Semaphore(_WORKERS)
        self._opening = asyncio.Lock()
        self._logs = LogWriter()
        self._pool: AsyncMonty | None = None
        self._results: OrderedDict[str, Ended] = OrderedDict()

    async def prepare(self, call: Call) -> Json:
        """Nothing: there is nothing to find again."""
        return None

    async def start(self, call: Call, handle: Json) -> Observation:
        """Run the body to its end, which is soon; a result that is known already is not made again."""
        if (known := self._results.get(call.call_key)) is not None:
            return known
        try:
            block, redactor = fill(call)
            inputs: Inputs = block.get("inputs") or {}
            runnable = await _beside(block["body"], code, block["body"], tuple(inputs), self._result_limit)
        except SecretUnavailable as error:
            return Ended(succeeded=False, message=str(error))
        except BodyError as error:
            return Ended(succeeded=False, message=f"E-SCRIPT {error}", repeatable=False)
        gathered = GatheredLog(call.log)
        log = GuardedLog(gathered, redactor)
        async with self._room:
            seen = await self._run(call, runnable, inputs, log)
        log.close()
        await self._logs.write(gathered)
        seen = without_secrets(seen, redactor)
        if isinstance(seen, Ended):
            self._remember(call, seen)
        return seen

    async def observe(self, call: Call, handle: Json) -> Observation:
        """Its result if it is still known; else proof that it may run again, as every script may."""
        proof = "nothing of it runs: a script ends with the controller that runs it, and has no effects"
        return self._results.get(call.call_key) or NotStarted(proof)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """A run ends together with the `start` that waits for it, so there is nothing left to end."""
        ended = Ended(succeeded=False, message="cancelled: nothing of it runs any more", cancelled=True)
        return self._results.get(call.call_key) or ended

    async def clean(self, call: Call, handle: Json) -> None:
        """Forget the result."""
        self._results.pop(call.call_key, None)

    async def close(self) -> None:
        """End the workers."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)

    def _remember(self, call: Call, ended: Ended) -> None:
        if ended.succeeded:
            self._results[call.call_key] = ended
            if len(self._results) > _REMEMBERED:
                self._results.popitem(last=False)

    async def _run(self, call: Call, runnable: Code, inputs: Inputs, log: GuardedLog) -> Observation:
        """One run; what it printed and why it failed goes to the log."""
        printed = Printed()
        try:
            seen = await self._outcome(call, runnable, inputs, printed)
        except ImportError:
            seen = Ended(succeeded=False, message=MISSING, repeatable=False)
        for stream, text in printed.pieces:
            log.write(text.encode(errors="replace"), stream)
        if isinstance(seen, Ended) and seen.message:
            log.line(seen.message)
        return seen

    async def _outcome(self, call: Call, runnable: Code, inputs: Inputs, printed: Printed) -> Observation:
        from pydantic_monty import MontyCrashedError, MontyError

        limits, policy = self._limits(call), self._policy(call)
        try:
            try:
                answer = await self._feed(runnable, inputs, printed, limits, policy)
            except MontyCrashedError as error:
                if error.timed_out:
                    raise
                printed.clear()
                answer = await self._feed(runnable, inputs, printed, limits, policy)
        except MontyCrashedError as error:
            slow = "it did not end when its time was over, and was killed"
            return _failed(slow if error.timed_out else f"its worker died twice under it: {error}")
        except MontyError as error:
            return _failed(printed.flaw or await _beside(runnable.body, self._reason, error, runnable, limits))
        except (OSError, TimeoutError, RuntimeError) as error:  # what the pool raises without a worker
            return NotStarted(f"there is no worker to run it: {brief(str(error))}", refused=True)
        return _failed(printed.flaw) if printed.flaw else self._ended(answer)

    async def _feed(
        self, runnable: Code, inputs: Inputs, printed: Printed, limits: "ResourceLimits", policy: "OSPolicy"
    ) -> object:
        """What the sandbox answers, from a session of its own: a used one keeps what its code has changed."""
        pool = await self._opened()
        async with pool.checkout(limits=limits, os_policy=policy, script_name="body") as session:
            return await session.feed_run(runnable.text, inputs=inputs, print_callback=printed)

    async def _opened(self) -> "AsyncMonty":
        from pydantic_monty import AsyncMonty

        async with self._opening:
            if self._pool is None:
                pool = AsyncMonty(
                    min_processes=0,
                    max_processes=_WORKERS,
                    checkout_timeout=10,
                    request_timeout=self._seconds + _BACKSTOP,
                    max_checkouts_per_worker=100,
                )
                self._pool = await pool.__aenter__()
            return self._pool

    def _limits(self, call: Call) -> "ResourceLimits":
        """Every limit by name: one that is not given does not exist, and two would be a thousand."""
        left = self._seconds if call.remaining is None else max(0.001, min(self._seconds, call.remaining))
        return {
            "max_feed_duration_secs": left,
            "max_memory": self._memory,
            "max_recursion_depth": MAX_CALL_DEPTH,
            "max_suspensions": 10,
        }

    def _policy(self, call: Call) -> "OSPolicy":
        """Nothing of the machine: a fixed time in UTC, sleep that does not wait, chance that repeats."""
        return {"datetime": self._now(), "timezone": "utc", "sleep": "zero", "random_start": {"seed": call.call_key}}

    def _reason(self, error: "MontyError", runnable: Code, limits: "ResourceLimits") -> str:
        """What the sandbox says, in our words where it is about a limit, with the place in the body."""
        from pydantic_monty import MontyRuntimeError, MontySyntaxError

        if not isinstance(error, MontyRuntimeError | MontySyntaxError):
            return str(error)
        said = brief(error.display("type-msg"), 300)
        if said.startswith("TimeoutError: feed time limit"):
            return f"TimeoutError: it ran longer than {limits['max_feed_duration_secs']:g} s"
        if said.startswith(("MemoryError: memory limit", "MemoryError: the worker exceeded")):
            return f"MemoryError: it needed more than {self._memory / (1 << 20):g} MiB"
        place = runnable.place((frame.line, frame.column) for frame in error.traceback())
        if said.startswith("RecursionError: maximum"):
            said = f"RecursionError: calls nested deeper than {MAX_CALL_DEPTH}"
        return said + (f" (line {place[0]}, column {place[1]} of the body)" if place else "")

    def _ended(self, answer: object) -> Ended:
        """The result from the answer of `script_code`."""
        if isinstance(answer, list):
            return _failed(f"OutputInvalid: the result is not JSON: {''.join(map(str, answer))}")
        if not isinstance(answer, str):
            return _failed(f"OutputTooLarge: the result is larger than {self._result_limit} bytes")
        try:
            return Ended(succeeded=True, result=parse(answer.encode(errors="replace"), self._result_limit))
        except BadAnswer as error:
            return _failed(str(error))


async def _beside(body: str, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `work` answers, which takes as long as `body` is: a long one must not hold up the event loop."""
    if len(body) < _LONG:
        return work(*arguments, **options)
    return await asyncio.to_thread(work, *arguments, **options)


def _failed(message: str) -> Ended:
    return Ended(succeeded=False, message=brief(message, 500))
