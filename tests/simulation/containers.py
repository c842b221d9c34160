"""The simulated container driver: made first, its handle durable, then started.

Three kinds of calls: one that finds what a command runs in, the command in a running container, which has a handle that
its engine may forget, and a new container, which has a name that is found again unless somebody else has it.
"""

from typing import Any, cast

from reconciler.drivers.protocol import Call, Ended, NoNews, NotStarted, Observation, Running, Unknown
from state.records import Json
from tests.simulation.drivers import Host, Simulated
from tests.simulation.target import Execution, flavour_of


class SimulatedContainer(Simulated):
    """One driver for all three."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._finder, self._commands, self._boxes = _Finder(host), _Commands(host), _Boxes(host)

    def _of(self, call: Call) -> "_Finder | _Commands | _Boxes":
        if flavour_of(call) == "find":
            return self._finder
        return self._boxes if "run" in call.request else self._commands

    async def prepare(self, call: Call) -> Json:
        return await self._of(call).prepare(call)

    async def start(self, call: Call, handle: Json) -> Observation:
        return await self._of(call).start(call, handle)

    async def observe(self, call: Call, handle: Json) -> Observation:
        return await self._of(call).observe(call, handle)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        return await self._of(call).cancel(call, handle)

    async def clean(self, call: Call, handle: Json) -> None:
        await self._of(call).clean(call, handle)


class _Finder(Simulated):
    """All that are named are there; an engine that does not answer is proof that nothing was started."""

    async def start(self, call: Call, handle: Json) -> Observation:
        self._host.sending(call)
        return await self.observe(call, handle)

    async def observe(self, call: Call, handle: Json) -> Observation:
        host, request = self._host, cast("Any", call.request)
        host.point("C6 before the targets are found")
        if host.strikes("refused", "find", call.call_key):
            return NotStarted("the targets are not known: connection refused", refused=True)
        await host.wire(lambda: None)
        host.point("C8 targets found, not recorded")
        return Ended(True, {"targets": [{"id": each, "name": each} for each in request["in"]["names"]]})

    async def cancel(self, call: Call, handle: Json) -> Observation:
        return NotStarted("looking for targets has no effect")


class _Made(Simulated):
    """What commands and new containers share: what ended may be told of late."""

    def _told_late(self, call: Call, known: Execution, handle: Json) -> Running | None:
        """Work that has ended and still looks as if it ran; None where it does not."""
        if not known.done(self._host.elapsed):
            return None
        if self._host.strikes("stale_read", call.call_key):
            return Running(handle, 1.0)
        return Running(handle, 0.2) if self._host.strikes("exit_code_late", call.call_key) else None

    def _look(self, call: Call, known: Execution, handle: Json, *, cleanup: bool) -> Observation:
        self._log(call)
        if known.unknown:
            return Unknown("the engine was started anew while it ran")
        if known.running(self._host.elapsed):
            return Running(handle, 1.0)
        return self._said(known, handle=handle, cleanup=cleanup)


class _Commands(_Made):
    """A command in a running container: nothing is known of it without its handle."""

    async def prepare(self, call: Call) -> Json:
        host, key = self._host, call.call_key
        host.point("C6 before the exec is made")
        if host.strikes("refused", "prepare", key):
            raise ConnectionError("no connection to the engine")
        if host.strikes("container_gone", "prepare", key):
            return None
        made: Json = await host.wire(self._make)
        host.point("C7 made, its handle unknown")
        if host.strikes("lost_reply", "prepare", key):
            raise ConnectionError("the connection to the engine broke")
        host.point("C8 handle known, not recorded")
        return made

    async def start(self, call: Call, handle: Json) -> Observation:
        if handle is None:
            return Ended(False, message="TargetGone: the container is gone; nothing was started")
        self._host.point("C9 handle recorded, not started")
        done = await self._deliver(call, lambda: self._receive(call, str(handle)))
        return self._look(call, done, handle, cleanup=False) if isinstance(done, Execution) else done

    async def observe(self, call: Call, handle: Json) -> Observation:
        host = self._host
        if handle is None:
            host.reached("adopt: exec without a handle never started")
            return NotStarted("no handle is recorded, so nothing was started", unrecorded=True)
        if host.strikes("refused", "observe", call.call_key):
            host.reached("an engine that cannot be asked now")
            return NoNews("no connection to the engine", 1.0)
        known, exists = await host.wire(lambda: self._found(str(handle)))
        host.point("C9 while watching")
        if exists and host.strikes("handle_lost", call.call_key):
            host.reached("container: handle lost")
            exists = False
        if not exists:
            return Unknown("the engine does not know the exec")
        if known is None:
            host.reached("adopt: exec made, never started")
            return NotStarted("the exec was never started")
        if host.strikes("container_gone", call.call_key):
            known.ends = None if known.running(host.elapsed) else known.ends
            return Unknown("the container is gone, and with it the receipt of what ran in it")
        if late := self._told_late(call, known, handle):
            return late
        if known.done(host.elapsed):
            host.point("C10 ended, not recorded")
        host.reached("adopt: exec ended" if known.done(host.elapsed) else "adopt: exec running")
        return self._look(call, known, handle, cleanup=False)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        host = self._host
        host.point("C15 before the cancel")
        if handle is None:
            return NotStarted("no handle is recorded, so nothing was started", unrecorded=True)
        known, exists = await host.wire(lambda: self._found(str(handle), stop=True))
        host.point("C15 cancelled, not recorded")
        if known is None:
            return NotStarted("the exec was never started") if exists else Unknown("the engine does not know the exec")
        return self._look(call, known, handle, cleanup=False)

    def _make(self) -> str:
        target = self._host.target
        target.handles += 1
        target.made[f"exec-{target.handles}"] = None
        return f"exec-{target.handles}"

    def _found(self, handle: str, *, stop: bool = False) -> tuple[Execution | None, bool]:
        """What was started under the handle, and whether the engine knows the handle at all."""
        made = self._host.target.made
        known = made.get(handle)
        if known and stop:
            self._told_to_end(known)
        return known, handle in made

    def _receive(self, call: Call, handle: str) -> Observation | Execution:
        made = self._host.target.made
        if handle not in made:
            return Unknown("the engine does not know the exec")
        known = made[handle] = made[handle] or self._act(call)
        return known


class _Boxes(_Made):
    """A new container, found again by its name and never started twice; a stranger's of that name is left alone."""

    async def prepare(self, call: Call) -> Json:
        """Make it; None where that is for `start` to explain."""
        host, key = self._host, call.call_key
        host.point("C6 before the exec is made")
        if host.strikes("refused", "prepare", key):
            return None
        made: Json = await host.wire(lambda: self._make(call))
        host.point("C7 made, its handle unknown")
        if host.strikes("lost_reply", "prepare", key):
            return None
        host.point("C8 handle known, not recorded")
        return made

    async def start(self, call: Call, handle: Json) -> Observation:
        host = self._host
        host.point("C9 handle recorded, not started")
        made: Json = handle or await host.wire(lambda: self._make(call))
        if made is None:
            return _foreign(call)
        done = await self._deliver(call, lambda: self._receive(call))
        return self._look(call, done, made, cleanup=True) if isinstance(done, Execution) else done

    async def observe(self, call: Call, handle: Json) -> Observation:
        host = self._host
        if host.strikes("refused", "observe", call.call_key):
            host.reached("an engine that cannot be asked now")
            return NoNews("no connection to the engine", 1.0)
        known, exists = await host.wire(lambda: self._found(call))
        host.point("C9 while watching")
        if _name(call) in host.target.strangers:
            return _foreign(call)
        if known and handle and host.strikes("container_gone", call.call_key):
            known.ends = None if known.running(host.elapsed) else known.ends
            self._remove(call)
            exists = False
        if not exists:
            host.reached("adopt: no container of its name" if handle is None else "adopt: container gone")
            return (
                NotStarted("there is no such container", unrecorded=True) if handle is None else Unknown("it is gone")
            )
        if known is None:
            host.reached("adopt: container made, never started")
            return NotStarted("the container was never started")
        if late := self._told_late(call, known, handle):
            return late
        if known.done(host.elapsed):
            host.point("C10 ended, not recorded")
        host.reached("adopt: container ended" if known.done(host.elapsed) else "adopt: container running")
        return self._look(call, known, {"container": _name(call)}, cleanup=True)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        host = self._host
        host.point("C15 before the cancel")
        known, exists = await host.wire(lambda: self._stop(call))
        host.point("C15 cancelled, not recorded")
        if _name(call) in host.target.strangers:
            return _foreign(call)
        if known and exists:
            return self._look(call, known, handle, cleanup=True)
        if exists or handle is None:
            return NotStarted("there is no such container any more, and it was never started", unrecorded=True)
        return Unknown("the container is gone, and with it how it ended")

    async def clean(self, call: Call, handle: Json) -> None:
        self._host.point("C13 before the clean-up")
        await self._host.wire(lambda: self._remove(call))
        self._host.point("C14 cleaned up, not recorded")

    def _make(self, call: Call) -> Json:
        """The handle of the container, made now or before; None if somebody else has its name."""
        target, name = self._host.target, _name(call)
        if name in target.boxes:
            self._host.reached("adopt: container made before")
        elif name in target.strangers or self._host.strikes("name_taken", call.call_key):
            target.strangers.add(name)
            return None
        target.boxes[name] = call.call_key
        return {"container": name}

    def _found(self, call: Call) -> tuple[Execution | None, bool]:
        """What was started in it, and whether there is such a container."""
        target = self._host.target
        exists = _name(call) in target.boxes
        return target.work.get(call.call_key) if exists else None, exists

    def _stop(self, call: Call) -> tuple[Execution | None, bool]:
        """End it; what was never started is removed, so that no start that is still on its way finds it."""
        known, exists = self._found(call)
        if known:
            self._told_to_end(known)
        elif exists:
            del self._host.target.boxes[_name(call)]
        return known, exists

    def _receive(self, call: Call) -> Observation | Execution:
        known, exists = self._found(call)
        if not exists:
            return Unknown("there is no such container any more")
        return known or self._act(call)

    def _remove(self, call: Call) -> None:
        """The containers of all calls of the attempt."""
        target = self._host.target
        gone = {key for key, attempt in target.objects.items() if attempt == call.key}
        target.objects = {key: attempt for key, attempt in target.objects.items() if key not in gone}
        target.boxes = {name: key for name, key in target.boxes.items() if key not in gone}


def _name(call: Call) -> str:
    return call.name if call.number == 1 else f"{call.name}-{call.number}"


def _foreign(call: Call) -> Ended:
    return Ended(False, message=f"ForeignObject: the container {_name(call)} is not ours; it is left alone")
