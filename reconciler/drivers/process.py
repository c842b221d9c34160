"""The process driver: a command beside the controller, without a shell, that outlives a restart of the controller.

A wrapper process (`wrapper`) runs the command and writes down how it ended; what this driver knows it reads from the
process's folder (`process_folder`), so a new controller knows as much as the one that died. Linux only: /proc is what
tells one process from another.
"""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from definitions.models import Process
from definitions.values import spell
from reconciler.drivers import wrapper
from reconciler.drivers.answer import brief
from reconciler.drivers.process_folder import ProcessFolder, marked, remove
from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from reconciler.drivers.request import environment, fill, require_passable
from reconciler.secrets.forms import forms
from reconciler.secrets.provider import SecretUnavailable
from state.records import Json

_CLAIM_WAIT = 10.0  # seconds that the wrapper may need to take the fence before somebody else has to look again
_PATIENCE = 0.05  # seconds in which a short command ends: its result needs no second look
_SETTLE = 5.0  # seconds that a killed command may need until its end is written down


class ProcessDriver:
    """Runs commands in folders below `folder` (`<state>/processes`). Sizes in bytes; `environ` is where PATH comes from."""

    def __init__(
        self,
        folder: Path,
        *,
        log_limit: int = 10 << 20,
        result_limit: int = 64 << 10,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._folder = folder.absolute()
        self._log_limit = log_limit
        self._result_limit = result_limit
        self._path = environ.get("PATH", os.defpath)
        self._wrappers: dict[str, subprocess.Popen[bytes]] = {}

    async def prepare(self, call: Call) -> Json:
        """Nothing: the folder's name is known and its fence is taken by the wrapper."""
        return None

    async def start(self, call: Call, handle: Json) -> Observation:
        """Run it; a folder in which it was started before is looked at instead."""
        folder = self._of(call)
        if folder.started or folder.forgotten:
            return await self.observe(call, handle)
        if not sys.platform.startswith("linux"):
            return Ended(
                succeeded=False, message="the process driver needs Linux: there is no /proc here", repeatable=False
            )
        try:
            order = self._order(call, folder)
        except SecretUnavailable as error:
            return Ended(succeeded=False, message=str(error))
        except ValueError as error:
            return Ended(succeeded=False, message=str(error), repeatable=False)
        try:
            process = await asyncio.to_thread(self._spawn, call, folder, order)
        except OSError as error:
            return NotStarted(f"the wrapper could not be started: {error}", refused=True)
        await _until(lambda: folder.started or process.poll() is not None, _CLAIM_WAIT)
        await _until(lambda: process.poll() is not None, _PATIENCE)
        return await self.observe(call, handle)

    async def observe(self, call: Call, handle: Json) -> Observation:
        """What its folder says; brings new output to the log on the way."""
        return await asyncio.to_thread(self._look, call)

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """TERM to its group, after `grace` KILL, also to what left the group. A result that was there first wins."""
        folder = self._of(call)
        if await asyncio.to_thread(folder.forbid):
            return await self.observe(call, handle)
        seen = await self.observe(call, handle)
        if not isinstance(seen, Running):  # also after a crash between the signal and the word about its effect
            return await self._sweep(call, seen, stopped=_signalled(folder))
        await _until(lambda: folder.child is not None or folder.outcome is not None, _SETTLE)
        folder.signal_group(signal.SIGTERM)
        if not await _until(lambda: folder.outcome is not None, self._grace(call)):
            await self._kill(call)
            await _until(lambda: folder.outcome is not None, _SETTLE)
        return await self._sweep(call, await self.observe(call, handle), stopped=True)

    async def clean(self, call: Call, handle: Json) -> None:
        """Remove the folders of all calls of the attempt, unless the command may still run."""
        folder = self._of(call)
        if folder.outcome is not None or folder.forbidden or not _alive(folder):
            await asyncio.to_thread(folder.clean)

    async def close(self) -> None:
        """Forget the wrappers, which go on: without this Python would complain about children left behind."""
        for process in self._wrappers.values():
            process.returncode = process.poll() or 0
        self._wrappers.clear()

    def _of(self, call: Call) -> ProcessFolder:
        return ProcessFolder(self._folder / call.name / str(call.number))

    def _order(self, call: Call, folder: ProcessFolder) -> bytes:
        """What the wrapper is told, on its stdin so that no secret touches the disk."""
        block, _ = fill(call)
        process = _read_block(block)
        values = [call.secrets.resolve(reference) for reference in call.secret_references.values()]
        own = {"PATH": self._path, "LANG": "C.UTF-8", "HOME": str(folder.path / "home")}
        order = {
            "command": process.command,
            "env": {**own, **process.env, "RECONCILER_ATTEMPT_KEY": call.key},
            "workdir": process.workdir,
            "stdin": process.stdin,
            "forms": [base64.b64encode(form).decode() for form in forms(values)],
            "head": self._log_limit // 2,
        }
        return json.dumps(order).encode()

    def _spawn(self, call: Call, folder: ProcessFolder, order: bytes) -> subprocess.Popen[bytes]:
        folder.make()
        remove(folder.path.with_name(str(call.number - 1)))  # the answer of that call is committed
        with (folder.path / "wrapper.log").open("ab") as complaints:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", wrapper.__file__, str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                cwd="/",
                env={"PATH": self._path, "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        self._wrappers[call.name] = process
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(order)
        return process

    def _look(self, call: Call) -> Observation:
        folder, process = self._of(call), self._wrappers.get(call.name)
        waiting = process is not None and process.poll() is None
        if not waiting:
            self._wrappers.pop(call.name, None)
        alive = _alive(folder)  # asked before the outcome: a wrapper that is gone by now has written it
        if folder.outcome is not None:
            return self._ended(call, folder)
        if not folder.started and folder.forgotten:
            return Unknown("it ran, and its outcome was recorded in a database that is newer than this one")
        if not folder.started:
            return Running(None, 0.05) if waiting else NotStarted(_why_not(folder))
        if folder.forbidden:
            return Ended(succeeded=False, message="cancelled before it started", cleanup=True, cancelled=True)
        folder.copy(call.log, whole=False)
        return Running(_handle(folder), min(1.0, max(0.05, folder.age / 5))) if alive else Unknown(_lost(folder))

    def _ended(self, call: Call, folder: ProcessFolder) -> Ended:
        outcome = folder.outcome or {}
        folder.copy(call.log, whole=True)
        code, message = _exit_code(outcome["code"]), str(outcome["error"])
        result, flaw = folder.result(code, self._result_limit)
        if code == 0 and flaw and call.uses_result:
            return Ended(succeeded=False, result=result, code=code, message=flaw, cleanup=True)
        if code != 0 and not message:
            message = f"ended by {_signal_name(-outcome['code'])}" if outcome["code"] < 0 else f"exit code {code}"
            words = folder.last_words()
            message += f": {words}" if words else ""
        return Ended(code == 0, result, code, message, _handle(folder), cleanup=True)

    def _grace(self, call: Call) -> float:
        try:
            return _read_block(dict(call.request)).grace.total_seconds()
        except ValueError:
            return 10.0

    async def _kill(self, call: Call) -> None:
        """KILL the group, and by its marker in the environment what has left the group."""
        self._of(call).signal_group(signal.SIGKILL)
        for pid in await asyncio.to_thread(marked, call.key):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def _sweep(self, call: Call, seen: Observation, *, stopped: bool = False) -> Observation:
        """End what is left over, and say so if something may still run."""
        await self._kill(call)
        await _until(lambda: not marked(call.key), _SETTLE)
        left = marked(call.key)
        if left or isinstance(seen, Running):
            return Unknown(f"it was told to end, but may still run: processes {', '.join(map(str, left)) or 'unknown'}")
        if isinstance(seen, Ended) and stopped and not seen.succeeded:
            return replace(seen, message=f"cancelled: {seen.message}", cancelled=True)
        return seen


def _read_block(block: Mapping[str, Any]) -> Process:
    """The block as a model, every word as text. Raises ValueError naming what is wrong."""
    words = [spell(word) for word in block.get("command") or []]
    env = environment(block.get("env"))
    plain = {name: spell(block[name]) for name in ("stdin", "workdir") if block.get(name) is not None}
    process = Process.model_validate({**block, **plain, "command": words, "env": env})
    require_passable((*words, *env, *env.values(), process.workdir or ""))
    return process


def _alive(folder: ProcessFolder) -> bool:
    identity = folder.wrapper
    return identity is not None and identity.alive


def _handle(folder: ProcessFolder) -> Json:
    identity = folder.wrapper
    return {"pid": identity.pid, "start": identity.start, "boot": identity.boot} if identity else None


def _why_not(folder: ProcessFolder) -> str:
    with suppress(OSError):
        if words := (folder.path / "wrapper.log").read_text(errors="replace").strip().splitlines():
            return f"never started: the wrapper failed: {brief(words[-1])}"
    return f"never started: {folder.path.parent.name} has no mark of a start"


def _lost(folder: ProcessFolder) -> str:
    identity, child = folder.wrapper, folder.child
    if identity and identity.boot != wrapper.boot_id():
        return "the machine was started anew while it ran"
    if child and child.alive:
        return f"its wrapper is gone; the process {child.pid} still runs, and nobody will know how it ends"
    return "it is gone and left no word about how it ended"


def _signalled(folder: ProcessFolder) -> bool:
    """Whether it ended by a signal that `cancel` sends."""
    return (folder.outcome or {}).get("code") in {-signal.SIGTERM, -signal.SIGKILL}


def _exit_code(code: int) -> int:
    """As shells and containers count: 128 and the signal's number for a command that a signal ended."""
    return code if code >= 0 else 128 - code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether `done` came true within `seconds`; looks often at first."""
    deadline, pause = time.monotonic() + seconds, 0.002
    while not done():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(0.1, pause * 1.5)
    return True
