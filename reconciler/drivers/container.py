"""The container driver: a command in running containers, or a new container, on the Docker engines that the operator names.

A block with `run` makes a container. One with `exec` is two calls: the first one finds the targets, and then there is
one for each of them, with `target` in its request. All of it goes through one door (`engine`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from definitions.requests import Container
from reconciler.drivers.container_exec import Executions
from reconciler.drivers.container_log import Copy
from reconciler.drivers.container_request import OWNER, Target, read_block, read_target
from reconciler.drivers.container_run import Containers, Piece
from reconciler.drivers.container_select import select
from reconciler.drivers.container_work import Work
from reconciler.drivers.engine import Engine, EngineError
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Unknown
from reconciler.drivers.request import fill, without_secrets
from reconciler.secrets.provider import SecretUnavailable
from reconciler.secrets.redaction import Redactor
from state.records import Json

_SWEEP = 1.0  # seconds without another receipt to be removed, so that one execution removes many
_SWEEP_MOST = 10.0
_SWEEP_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call read: its block, where it is about, and what takes the secrets out."""

    block: Container
    target: Target | None
    redactor: Redactor


class ContainerDriver:
    """Works on `engines` by name. `owner` tells one controller's objects from another's; sizes in bytes."""

    def __init__(
        self, engines: Mapping[str, Engine], owner: str, *, log_limit: int = 10 << 20, result_limit: int = 64 << 10
    ) -> None:
        self._engines = engines
        self._owner = owner
        self._executions = Executions(log_limit, result_limit)
        self._containers = Containers(log_limit, result_limit)
        self._copies: dict[str, Copy] = {}
        self._sweeps: dict[tuple[str, str], _Sweep] = {}

    async def prepare(self, call: Call) -> Json:
        """Make the execution or the container, not started; its id is the handle."""
        try:
            asked = self._read(call)
            if asked.block.run:
                return await self._containers.prepare(self._piece(call, asked, None))
            return await self._executions.prepare(self._work(call, asked, asked.target, None)) if asked.target else None
        except (SecretUnavailable, ValueError):
            return None  # `start` says why

    async def start(self, call: Call, handle: Json) -> Observation:
        """Start it, or find the targets."""
        return await self._turn(call, handle, "start")

    async def observe(self, call: Call, handle: Json) -> Observation:
        """What became of it; finding targets has no effect and is simply done again."""
        return await self._turn(call, handle, "observe")

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """End it, with all that came of it."""
        return await self._turn(call, handle, "cancel")

    async def clean(self, call: Call, handle: Json) -> None:
        """Remove the container, or the receipts of all calls of the attempt."""
        self._forget(call)
        with suppress(SecretUnavailable, ValueError):
            asked = self._read(replace(call, secret_references={}))
            if asked.block.run:
                await self._containers.clean(self._piece(call, asked, handle))
            elif asked.target:
                await self._sweep(self._work(call, asked, asked.target, handle))

    async def close(self) -> None:
        """Let go of the engines; what runs in containers goes on."""
        for sweep in self._sweeps.values():
            sweep.task.cancel()
        for copy in self._copies.values():
            copy.hush()
        for engine in self._engines.values():
            await engine.close()

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _turn(self, call: Call, handle: Json, verb: str) -> Observation:
        """What every method does: read the call, act, take the secrets out of what comes back."""
        try:
            asked = self._read(call)
            seen = await self._act(call, asked, handle, verb)
        except SecretUnavailable as error:
            return Ended(False, message=str(error))
        except ValueError as error:
            return Ended(False, message=str(error), repeatable=False)
        if isinstance(seen, Ended | Unknown):
            self._forget(call)
        return without_secrets(seen, asked.redactor)

    async def _act(self, call: Call, asked: _Asked, handle: Json, verb: str) -> Observation:
        act: Callable[[Any, Json], Awaitable[Observation]]
        if asked.block.run:
            act = getattr(self._containers, verb)
            return await act(self._piece(call, asked, handle), handle)
        if asked.target:
            act = getattr(self._executions, verb)
            return await act(self._work(call, asked, asked.target, handle), handle)
        if verb == "cancel":
            return NotStarted("looking for targets has no effect")
        selector = asked.block.in_
        if selector is None:
            raise ValueError("`exec` needs `in`: which containers it runs in")
        return await select(call, selector, self._named(asked.block.on))

    def _read(self, call: Call) -> _Asked:
        """The call as models. Raises SecretUnavailable, ValueError."""
        block, redactor = fill(call)
        return _Asked(read_block(block), read_target(block), redactor)

    def _named(self, names: list[str]) -> dict[str, Engine]:
        """The engines of these hosts, all of them without a name. Raises ValueError."""
        if unknown := [name for name in names if name not in self._engines]:
            known = ", ".join(self._engines) or "none"
            raise ValueError(
                f"there is no host {unknown[0]!r} in the setting `drivers.container.hosts` (it has: {known})"
            )
        return {name: self._engines[name] for name in names or self._engines}

    def _work(self, call: Call, asked: _Asked, target: Target, handle: Json) -> Work:
        (engine,) = self._named([target.host]).values()
        copy = self._copy(call, asked.redactor, handle)
        return Work(call, asked.block, target, engine, self._owner[:8], copy)

    def _piece(self, call: Call, asked: _Asked, handle: Json) -> Piece:
        run = asked.block.run
        engines = self._named(asked.block.on)
        if run is None or len(engines) != 1:
            raise ValueError(f"a container runs on one host: say which with `on` ({', '.join(engines)})")
        (engine,) = engines.values()
        labelled = replace(call, labels={**call.labels, OWNER: self._owner})
        copy = self._copy(call, asked.redactor, handle)
        return Piece(labelled, run, engine, copy, asked.block.grace.total_seconds())

    def _copy(self, call: Call, redactor: Redactor, handle: Json) -> Copy:
        """How far the log of this call is; after a restart as far as the handle says."""
        key = call.call_key
        if key not in self._copies:
            copy = Copy(call.log, redactor)
            if isinstance(handle, dict):
                copy.go_on(handle)
            self._copies[key] = copy
        return self._copies[key]

    def _forget(self, call: Call) -> None:
        """The call is over: nobody listens to it any more."""
        copy = self._copies.pop(call.call_key, None)
        if copy:
            copy.hush()

    async def _sweep(self, work: Work) -> None:
        """Remove the receipts of an attempt, together with others of the same container. Raises EngineError."""
        place = (work.target.host, work.target.id)
        if place not in self._sweeps:
            task = asyncio.ensure_future(self._swept(place, work.engine))
            self._sweeps[place] = _Sweep(set(), task)
        sweep = self._sweeps[place]
        sweep.stems.add(work.stem)
        await asyncio.shield(sweep.task)

    async def _swept(self, place: tuple[str, str], engine: Engine) -> None:
        seen, waited = -1, 0.0
        while len(self._sweeps[place].stems) != seen and waited < _SWEEP_MOST:
            seen = len(self._sweeps[place].stems)
            await asyncio.sleep(_SWEEP)
            waited += _SWEEP
        stems = sorted(self._sweeps.pop(place).stems)
        for attempt in range(_SWEEP_TRIES):
            try:
                return await self._executions.remove(engine, place[1], stems)
            except EngineError:
                await asyncio.sleep(2.0**attempt)
        return None  # what stays is a small folder that nobody asks about again


@dataclass(frozen=True, slots=True)
class _Sweep:
    stems: set[str]
    task: "asyncio.Future[None]"
