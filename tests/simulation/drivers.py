"""The simulated drivers: what the real ones can know and say, over a target in memory and a wire that loses things.

Two kinds are here: `http` (nothing to hold on to; a verify call or a deduplicating target may help) and `process`
(adopted by its name, with a fence against a second start). What is made first and then started is in `containers`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from state.records import Json
from tests.simulation.target import Execution, Target, flavour_of

REPLY_WITHIN = 30.0
"""Seconds after which the http driver stops waiting for an answer."""
DYING = 2.5
"""Seconds that work may go on for after it was told to end."""


class Host(Protocol):
    """The process that a driver lives in, as far as a driver sees it."""

    @property
    def target(self) -> Target: ...

    @property
    def elapsed(self) -> float: ...

    def point(self, name: str) -> None: ...

    def strikes(self, fault: str, *about: object) -> bool: ...

    def reached(self, name: str) -> None: ...

    def sending(self, call: Call) -> None: ...

    async def wire(self, arrival: Callable[[], Any]) -> Any: ...


class Simulated:
    """What all kinds share: the way to the target and back."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def close(self) -> None:
        """Nothing is held."""

    async def prepare(self, call: Call) -> Json:
        return None

    async def clean(self, call: Call, handle: Json) -> None:
        """Nothing is left behind."""

    async def _deliver(self, call: Call, act: Callable[[], Observation | Execution]) -> Observation | Execution:
        """One request to the target: it may not leave, not arrive, or be acted on without an answer."""
        host, key = self._host, call.call_key
        host.point("C6 before the first byte")
        if host.strikes("refused", key):
            return NotStarted("connection refused", refused=True)
        if host.strikes("lost_request", key):
            await asyncio.sleep(1)
            return Unknown("the request was sent, then there was no answer")
        host.sending(call)
        done: Observation | Execution = await host.wire(act)
        host.point("C7 acted on, no reply yet")
        if host.strikes("lost_reply", key):
            return Unknown("the request was sent, then the connection broke")
        return done

    def _act(self, call: Call) -> Execution:
        host, key = self._host, call.call_key
        slow = 40.0 if host.strikes("slow_target", key) else 0.0
        wrong = host.strikes("wrong_exit_code", key)
        return host.target.act(call, host.elapsed, slow=slow, wrong=wrong, big=host.strikes("result_too_big", key))

    def _said(self, execution: Execution, *, cleanup: bool = False, handle: Json = None) -> Ended:
        ok, result = self._host.target.say(execution)
        message = "" if ok else f"code {execution.code}"
        return Ended(
            ok, result if ok else None, execution.code, message, handle, cleanup=cleanup, cancelled=execution.cancelled
        )

    def _told_to_end(self, execution: Execution) -> None:
        """It ends at once, or a while after it was told to."""
        now = self._host.elapsed
        if not execution.running(now) or execution.dies is not None:
            return
        if self._host.strikes("slow_stop", execution.key):
            execution.dies = now + DYING
        else:
            execution.cancelled = True

    def _log(self, call: Call) -> None:
        if not self._host.strikes("log_cut", call.call_key):
            call.log.write(b"working\n")


class SimulatedHttp(Simulated):
    """One request, one answer; afterwards only `verify` or a deduplicating target knows anything."""

    async def start(self, call: Call, handle: Json) -> Observation:
        known = self._host.target.work.get(call.call_key)
        done = await self._deliver(call, lambda: self._receive(call))
        if not isinstance(done, Execution):
            return done
        if known and flavour_of(call) == "exists":
            self._host.reached("adopt: already exists")
        wait = max(0.0, (done.ends or 0.0) - self._host.elapsed)
        limit = REPLY_WITHIN if call.remaining is None else min(REPLY_WITHIN, call.remaining)
        await asyncio.sleep(min(wait, limit))
        if wait > limit:
            return Unknown(f"no complete answer within {limit:g} s")
        self._log(call)
        self._host.point("C8 reply, not recorded")
        return self._said(done)

    async def observe(self, call: Call, handle: Json) -> Observation:
        request: Any = call.request
        if "verify" not in request:
            return Unknown("an HTTP call without `verify` cannot be looked up")
        known, running = await self._host.wire(lambda: self._found(call))
        self._host.point("C9 while looking")
        if self._host.strikes("lost_reply", "verify", call.call_key):
            return Unknown("the status call failed")
        if known is None:
            self._host.reached("verify: not found")
            return NotStarted("the target does not know the call")
        self._host.reached("verify: running" if running else "verify: found")
        return Running(None, 1.0) if running else self._said(known)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        request: Any = call.request
        self._host.point("C15 before the cancel")
        if "cancel" not in request:
            return Unknown("the block has no `cancel`: it may still run")
        known, running = await self._host.wire(lambda: self._found(call, stop=True))
        self._host.point("C15 cancelled, not recorded")
        if self._host.strikes("lost_reply", "cancel", call.call_key):
            return Unknown("the cancel call failed: it may still run")
        if known and not running and not known.cancelled:
            return self._said(known)
        return Ended(False, code=200, message="cancelled", cancelled=True)

    def _receive(self, call: Call) -> Execution:
        known = self._host.target.work.get(call.call_key)
        if known and flavour_of(call) in {"idempotent", "exists"}:
            return known
        return self._act(call)

    def _found(self, call: Call, *, stop: bool = False) -> tuple[Execution | None, bool]:
        """The work, and whether it runs at that moment; `stop` ends it if it does."""
        known = self._host.target.work.get(call.call_key)
        running = known is not None and known.running(self._host.elapsed)
        if known and running and stop:
            known.cancelled = True
        return known, running


class SimulatedProcess(Simulated):
    """Work with a name on a machine: looked up by it, fenced against a second start, cleaned up afterwards."""

    async def start(self, call: Call, handle: Json) -> Observation:
        done = await self._deliver(call, lambda: self._receive(call))
        return self._look(call, done) if isinstance(done, Execution) else done

    async def observe(self, call: Call, handle: Json) -> Observation:
        host = self._host
        known = await host.wire(lambda: self._known(call))
        host.point("C9 while watching")
        if host.strikes("handle_lost", call.call_key):
            return Unknown("the folder of the process cannot be read")
        if call.call_key in host.target.forbidden:
            return Ended(False, message="cancelled before it started", cleanup=True, cancelled=True)
        if known is None and call.key in host.target.cleaned:
            host.reached("adopt: process cleaned up")
            return Unknown("it ran, and its outcome was recorded in a database that is newer than this one")
        if known is None:
            host.reached("adopt: process never started")
            return NotStarted("never started")
        if known.done(host.elapsed) and host.strikes("stale_read", call.call_key):
            return Running({"pid": 1}, 1.0)
        if known.done(host.elapsed):
            host.point("C10 ended, not recorded")
        host.reached("adopt: process ended" if known.done(host.elapsed) else "adopt: process running")
        return self._look(call, known)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        self._host.point("C15 before the cancel")
        known = await self._host.wire(lambda: self._stop(call))
        self._host.point("C15 cancelled, not recorded")
        if known is None:
            return Ended(False, message="cancelled before it started", cleanup=True, cancelled=True)
        return self._look(call, known)

    async def clean(self, call: Call, handle: Json) -> None:
        self._host.point("C13 before the clean-up")
        await self._host.wire(lambda: self._remove(call))
        self._host.point("C14 cleaned up, not recorded")

    def _remove(self, call: Call) -> None:
        objects = self._host.target.objects
        for key in [key for key, attempt in objects.items() if attempt == call.key]:
            del objects[key]
            self._host.target.forbidden.discard(key)
            self._host.target.cleaned.add(call.key)

    def _known(self, call: Call) -> Execution | None:
        """What its folder says; nothing once it was cleaned up."""
        target = self._host.target
        return target.work.get(call.call_key) if call.call_key in target.objects else None

    def _stop(self, call: Call) -> Execution | None:
        """End it, or take the fence so that it never begins."""
        known = self._known(call)
        if known is None:
            self._host.target.forbidden.add(call.call_key)
            self._host.target.objects[call.call_key] = call.key
        else:
            self._told_to_end(known)
        return known

    def _receive(self, call: Call) -> Observation | Execution:
        if call.call_key in self._host.target.forbidden:
            return Ended(False, message="cancelled before it started", cleanup=True, cancelled=True)
        if call.key in self._host.target.cleaned:
            return Unknown("it ran, and its outcome was recorded in a database that is newer than this one")
        return self._known(call) or self._act(call)

    def _look(self, call: Call, known: Execution) -> Observation:
        self._log(call)
        if known.unknown:
            return Unknown("the machine was started anew while it ran")
        if known.running(self._host.elapsed):
            return Running({"pid": 1}, min(1.0, max(0.05, (known.ends or 0.0) - self._host.elapsed)))
        return self._said(known, cleanup=True, handle={"pid": 1})
