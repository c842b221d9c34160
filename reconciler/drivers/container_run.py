"""A new container for one call: its name is derived from the attempt, so that it is made one time and found again.

Guarantee: it is started only while it has never been started, and removed only after its result is stored. A container
of our name that is not ours is left alone.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import Any, cast

from definitions.requests import ContainerRun
from reconciler.drivers.command_result import command_result, last_line
from reconciler.drivers.container_log import Copy, Silence
from reconciler.drivers.container_request import CALL, OWNER, SPEC, run_config, spec_hash
from reconciler.drivers.container_wait import asked_until_answered
from reconciler.drivers.engine import Engine, EngineError, NoAnswer, Refused, Unreachable
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from state.records import Json

_PATIENCE = 1.0  # seconds in which a short container ends: it needs no second look
_PIECE = 4 << 20
_STAMP = re.compile(rb"(\S+) ")


@dataclass(slots=True)
class Piece:
    """One call while the driver works on it."""

    call: Call
    run: ContainerRun
    engine: Engine
    copy: Copy
    grace: float

    @property
    def name(self) -> str:
        """The container's name; a later call of an attempt has one of its own."""
        return self.call.name if self.call.number == 1 else f"{self.call.name}-{self.call.number}"


class Foreign(Exception):
    """A container of our name that is not ours."""


class Containers:
    """The five methods of the driver for new containers. Sizes in bytes."""

    def __init__(self, log_limit: int, result_limit: int) -> None:
        self._log_limit = log_limit
        self._result_limit = result_limit

    # -- the five methods --------------------------------------------------------------------------------------------

    async def prepare(self, piece: Piece) -> Json:
        """Make the container; None where that is for `start` to explain."""
        try:
            return await self._made(piece)
        except (EngineError, Foreign, ValueError):
            return None

    async def start(self, piece: Piece, handle: Json) -> Observation:
        """Start it if it was never started; then, or otherwise, look at it."""
        try:
            made = _read_handle(handle) or await self._made(piece)
            state = await self._ours(piece)
            if state["State"]["Status"] == "created":
                await piece.engine.start(str(made["container"]))
        except Unreachable as error:
            if handle is None:
                return NotStarted(f"nothing was sent: {error}", refused=True)
            return Ended(False, message=f"it was made and not started: {error}", cleanup=True)
        except NoAnswer as error:
            return Unknown(f"the start was sent, then {error}")
        except Foreign as error:
            return Ended(False, message=str(error))
        except ValueError as error:
            return Ended(False, message=str(error), repeatable=False)
        except Refused as error:
            return await self._not_started(piece, handle, error)
        return await self._shortly(piece, made)

    async def observe(self, piece: Piece, handle: Json, *, patience: float | None = None) -> Observation:
        """What the engine says of it; one that does not answer is asked again for `patience` seconds (by default its own)."""
        limit = patience or piece.engine.seconds
        return await asked_until_answered(lambda: self._seen(piece, _read_handle(handle)), piece.copy, limit)

    async def cancel(self, piece: Piece, handle: Json) -> Observation:
        """TERM, after `grace` KILL. A result that was there first wins; what was never started is removed."""
        try:
            async with asyncio.timeout(piece.grace + 60.0):
                return await self._cancelled(piece, handle)
        except TimeoutError:
            return Unknown(
                f"its engine does not answer: the container {piece.name} may still run on {piece.engine.name}"
            )

    async def clean(self, piece: Piece) -> None:
        """Remove the containers of all calls of the attempt that have ended; waits for an engine that does not answer."""
        pause = 0.5
        while True:
            try:
                return await self._removed(piece)
            except (Unreachable, NoAnswer):
                await asyncio.sleep(pause)
                pause = min(10.0, pause * 2)

    async def _removed(self, piece: Piece) -> None:
        """Once. A stranger's container is left alone. Raises EngineError."""
        for number in range(1, piece.call.number + 1):
            each = replace(piece, call=replace(piece.call, number=number))
            try:
                state = await self._ours(each)
                if not state["State"]["Running"]:
                    await piece.engine.remove(str(state["Id"]))
            except Foreign:
                continue
            except Refused as error:
                if not error.missing:
                    raise

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _made(self, piece: Piece) -> dict[str, Json]:
        """The handle of the container, made now or by an earlier try. Raises EngineError, Foreign, ValueError."""
        config = run_config(piece.run, piece.call, piece.grace, self._log_limit)
        if piece.run.pull == "always":
            await self._pull(piece)
        try:
            made = await piece.engine.create(piece.name, config)
        except Refused as error:
            if error.status == 409:
                return {"container": str((await self._ours(piece))["Id"])}
            if not error.missing or piece.run.pull != "missing":
                raise
            await self._pull(piece)
            made = await piece.engine.create(piece.name, config)
        return {"container": made}

    async def _pull(self, piece: Piece) -> None:
        seconds = piece.call.remaining if piece.call.remaining is not None else 600.0
        piece.copy.line(f"pulling {piece.run.image}")
        await piece.engine.pull(piece.run.image, max(1.0, seconds))

    async def _ours(self, piece: Piece) -> dict[str, Any]:
        """The container of our name. Raises Foreign if it is not ours, Refused (404) if there is none."""
        found = await piece.engine.container(piece.name)
        labels: Mapping[str, str] = found["Config"].get("Labels") or {}
        expected = {**piece.call.labels, CALL: piece.call.call_key, SPEC: spec_hash(piece.call)}
        for key in (CALL, SPEC, OWNER):
            if labels.get(key) != expected.get(key):
                raise Foreign(
                    f"ForeignObject: the container {piece.name} on {piece.engine.name} is not ours "
                    f"(its label {key} is {labels.get(key)!r:.60}); it is left alone"
                )
        return found

    async def _not_started(self, piece: Piece, handle: Json, error: Refused) -> Observation:
        """The engine refused to make or start it; it may have been started before."""
        seen = await self.observe(piece, handle)
        if not isinstance(seen, NotStarted):
            return seen
        if error.missing and "image" in str(error).lower():
            how = "`pull: never`" if piece.run.pull == "never" else "it could not be pulled"
            return Ended(
                False, message=f"ImageMissing: {piece.run.image} is not on {piece.engine.name} ({how}): {error}"
            )
        return Ended(False, message=f"nothing was started: {error}", cleanup=True)

    async def _shortly(self, piece: Piece, handle: dict[str, Json]) -> Observation:
        """What it has become after a moment, in which a short one ends."""
        pause, waited = 0.05, 0.0
        while isinstance(seen := await self.observe(piece, handle), Running) and waited < _PATIENCE:
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(0.2, pause * 2)
        return seen

    async def _seen(self, piece: Piece, handle: dict[str, Json] | None) -> Observation:
        """One look. Raises Unreachable, NoAnswer."""
        try:
            found = await self._ours(piece)
        except Foreign as error:
            return Ended(False, message=str(error))
        except Refused as error:
            if not error.missing:
                raise NoAnswer(str(error)) from None
            if handle is None:
                return NotStarted(f"there is no container {piece.name} on {piece.engine.name}", unrecorded=True)
            return Unknown(f"the container {piece.name} is gone from {piece.engine.name}, and with it how it ended")
        status = found["State"]["Status"]
        if status == "created":
            return await self._never_started(piece, found)
        more = await self._copy(piece)
        own: dict[str, Json] = {"container": str(found["Id"]), "since": piece.copy.since, "count": piece.copy.count}
        if status in {"running", "restarting", "paused", "removing"}:
            return Running(own, 0.05 if more else 1.0)
        while more:
            more = await self._copy(piece)
        piece.copy.finish()
        if piece.copy.late:
            whole = Copy(Silence(), piece.copy.redactor)
            await self._copy(replace(piece, copy=whole))
            piece.copy.remember(whole)
        return self._concluded(piece, found["State"], own)

    async def _never_started(self, piece: Piece, found: Mapping[str, Any]) -> Observation:
        """An engine that was killed while it started a container does not know of that afterwards."""
        said = found["State"].get("Error")
        if not said and not await piece.engine.remembers(str(found["Id"]), float(nanoseconds(found["Created"]))):
            what = f"the engine {piece.engine.name} knows of no start of the container {piece.name}"
            return Unknown(
                f"{what}, but was started anew since it made it, or has forgotten: a start may have been cut short"
            )
        return NotStarted(f"the container {piece.name} was never started{f': {said}' if said else ''}")

    async def _copy(self, piece: Piece) -> bool:
        """Bring new output into the log; whether there may be more at once."""
        entries = await piece.engine.output(piece.name, piece.copy.since, _PIECE)
        size = sum(len(entry) for _, entry in entries)
        return bool(piece.copy.entries(_stamped(*each) for each in entries)) and size >= _PIECE

    def _concluded(self, piece: Piece, state: Mapping[str, Any], handle: dict[str, Json]) -> Ended:
        copy, code = piece.copy, int(state["ExitCode"])
        values, flaw = command_result(
            code, bytes(copy.heads["stdout"]), bytes(copy.heads["stderr"]), self._result_limit
        )
        about: dict[str, Json] = {"id": handle["container"], "name": piece.name, "host": piece.engine.name}
        result: Json = {**about, **values}
        if code == 0 and state.get("OOMKilled"):
            return Ended(False, result, code, "it ran out of memory", handle, cleanup=True)
        if code == 0 and flaw and piece.call.uses_result:
            return Ended(False, result, code, flaw, handle, cleanup=True)
        return Ended(code == 0, result, code, _why(code, state, copy) if code else "", handle, cleanup=True)

    async def _cancelled(self, piece: Piece, handle: Json) -> Observation:
        seen = await self.observe(piece, handle, patience=inf)
        if isinstance(seen, NotStarted):
            await self.clean(piece)  # so that no start that is still on its way finds it
            return await self.observe(piece, None, patience=inf)
        if not isinstance(seen, Running):
            return seen
        await piece.engine.stop(str(cast("dict[str, Json]", seen.handle)["container"]), piece.grace)
        ended = await self.observe(piece, seen.handle, patience=inf)
        if isinstance(ended, Ended) and not ended.succeeded:
            return replace(ended, message=f"cancelled: {ended.message}", cancelled=True)
        if isinstance(ended, Running):
            return Unknown(f"it was told to end, but the container {piece.name} may still run on {piece.engine.name}")
        return ended


def _read_handle(handle: Json) -> dict[str, Json] | None:
    return handle if isinstance(handle, dict) and "container" in handle else None


def _stamped(stream: str, entry: bytes) -> tuple[str, str, bytes]:
    """The time of an entry as `seconds.nanoseconds`, its stream, and what was written."""
    match = _STAMP.match(entry)
    if match is None:
        return "0", stream, entry
    return nanoseconds(match[1].decode(errors="replace")), stream, entry[match.end() :]


def nanoseconds(text: str) -> str:
    """A time as engines write it (`2026-11-22T09:00:00.123456789Z`) as engines want to be asked (`1795338000.123456789`)."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return "0"
    return f"{seconds}.{fraction[:9].ljust(9, '0')}"


def _why(code: int, state: Mapping[str, Any], copy: Copy) -> str:
    said = state.get("Error") or last_line(bytes(copy.ends["stderr"]), bytes(copy.ends["stdout"]))
    killed = "it ran out of memory" if state.get("OOMKilled") else ""
    killed = killed or ("it was killed (a stop of its engine does that, too)" if code == 137 else "")
    return ": ".join(text for text in (f"exit code {code}", killed, said) if text)
