"""What became of a command in a container: the engine, the receipt and the container itself are asked, in that order.

An engine that does not answer is asked until it does. What nobody can say is Unknown, with what is known as evidence.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from reconciler.drivers import receipt
from reconciler.drivers.command_result import command_result, last_line
from reconciler.drivers.container_log import STREAMS, Copy, Silence
from reconciler.drivers.container_wait import asked_until_answered
from reconciler.drivers.container_work import Work, read_handle
from reconciler.drivers.engine import NoAnswer, Refused
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from reconciler.drivers.receipt import Report, read_report, words
from state.records import Json

_CHEAP = 1.0  # seconds between two questions whether it runs
_ENDING = 1.0  # seconds that output of left-over children is waited for after the command has ended


class Looks:
    """Observations of commands in containers. Sizes in bytes."""

    def __init__(self, result_limit: int) -> None:
        self._result_limit = result_limit
        self._ending: dict[str, float] = {}  # call key -> since when only its output is waited for
        self.attached: dict[str, asyncio.Event] = {}  # call key -> what is set when nobody listens any more

    async def observe(
        self, work: Work, handle: Json, *, whole: bool = False, patience: float | None = None
    ) -> Observation:
        """What the engine and the receipt say; an engine that does not answer is asked again for `patience` seconds,
        by default as long as it may take for one question.

        `whole`: the receipt is asked even if it is too early for that.
        """
        made = read_handle(handle)

        def look() -> Awaitable[Observation]:
            return self.once(work, made, whole=whole or work.copy.pace.due(time.monotonic()))

        return await asked_until_answered(look, work.copy, patience or work.engine.seconds)

    async def once(self, work: Work, handle: dict[str, Json] | None, *, whole: bool = True) -> Observation:
        """One look; not `whole`: what the engine says is enough while it runs. Raises Unreachable, NoAnswer."""
        if handle and (heard := await self._heard(work, handle, whole=whole)):
            return heard
        state = await work.engine.started(str(handle["exec"])) if handle else None
        if state is not None and not state["Running"] and state["ExitCode"] is None:
            return NotStarted(f"its execution was made in {work.target.label} and never started")
        if handle and not handle["receipt"]:
            return self._by_engine(work, handle, state)
        if handle and state and state["Running"] and not whole:
            return Running({**handle, **work.copy.copied}, _CHEAP)
        try:
            found = await work.engine.container(work.target.id)
        except Refused as error:
            if not error.missing:
                raise NoAnswer(str(error)) from None
            return _gone(work, handle)
        if not found["State"]["Running"]:
            return await self._by_archive(work, handle, found)
        return await self._by_receipt(work, handle, state, found)

    async def _heard(self, work: Work, handle: dict[str, Json], *, whole: bool) -> Observation | None:
        """What its own connection says: that it runs, or how it ended; None where that is not to be heard."""
        speech = work.copy.speech
        if speech is None or (whole and not speech.over):
            return None
        if not speech.over:
            return Running({**handle, **work.copy.copied}, _CHEAP)
        work.copy.hush()
        report = read_report(bytes(speech.said["stdout"]), bytes(speech.said["stderr"])) if speech.whole else None
        if report and report.state == "ended" and work.copy.report(report, dict.fromkeys(STREAMS, 0)):
            return await self.result(work, report, handle)
        if speech.whole and report is None:
            work.copy.take(bytes(speech.said["stdout"][:4096]), "stdout")  # the engine's own complaint, if there is one
        return None

    def _by_engine(self, work: Work, handle: dict[str, Json], state: dict[str, Any] | None) -> Observation:
        """The engine's word alone."""
        key = work.call.call_key
        if state is None:
            return Unknown(f"it was started without a receipt in {work.target.label}, and its engine has forgotten it")
        listening = self.attached.get(key)
        if state["Running"] or (listening and not listening.is_set()):
            return Running(handle, 0.5)
        heard = self.attached.pop(key, None) is not None
        work.copy.finish()
        if not heard:
            work.copy.line("it ended without a receipt while nobody listened: its output is lost")
        return self._concluded(work, int(state["ExitCode"]), handle)

    async def _by_receipt(
        self, work: Work, handle: dict[str, Json] | None, state: dict[str, Any] | None, found: dict[str, Any]
    ) -> Observation:
        began, before = time.monotonic(), dict(work.copy.places)
        report = await self._look(work)
        running = Running({**handle, **work.copy.copied} if handle else None, _CHEAP)
        if report is None:
            return replace(running, look_again=2.0)  # it has a shell no more, or the engine cut it short
        match report.state:
            case "ended" | "ending" if report.state == "ended" or self._waited(work):
                return await self.result(work, report, handle)
            case "ending":
                return replace(running, look_again=0.2)
            case "running":
                news = before != work.copy.places
                work.copy.pace.looked(began, time.monotonic(), news=news)
                return running
            case "forbidden":
                return Ended(False, message="cancelled before it started", cleanup=True, cancelled=True)
            case "restarted":
                return self._with_its_container(work, handle)
            case "none" if handle is None and found["State"].get("StartedAt") == work.target.since:
                return NotStarted(f"there is no receipt of it in {work.target.label}", unrecorded=True)
            case "none" if state is None and handle and handle["lasting"]:
                return NotStarted(f"its engine was started anew, and there is no receipt of it in {work.target.label}")
        return self._without_receipt(work, handle, state, report)

    def _without_receipt(
        self, work: Work, handle: dict[str, Json] | None, state: dict[str, Any] | None, report: Report
    ) -> Observation:
        """What the engine says where the receipt says nothing."""
        code = state["ExitCode"] if state and not state["Running"] else None
        if state and state["Running"]:
            return Running(handle, 0.2)  # it has not come as far as its receipt
        if code == receipt.CUT_SHORT:
            return NotStarted(f"nothing was run in {work.target.label}: what it is given was cut short")
        if code == receipt.NOWHERE:
            return Ended(False, code=code, message=f"nothing was run: no folder for a receipt in {work.target.label}")
        if code == receipt.UNWRITTEN:
            return Unknown(f"it has ended in {work.target.label}, where nothing could be written about how")
        if code and code != receipt.FENCED:
            return self._concluded(work, int(code), handle)
        where = f"in {work.target.label}"
        if report.state == "lost":
            return Unknown(
                f"its receipt {where} says that it was started; it does not run, and did not say how it ended"
            )
        return Unknown(f"nobody can say whether it was started {where}: there is no receipt any more")

    async def _by_archive(self, work: Work, handle: dict[str, Json] | None, found: dict[str, Any]) -> Observation:
        """The receipt in a container that does not run."""
        code = None
        for folder in receipt.LASTING:
            raw = await work.engine.archive(work.target.id, f"{folder}/{work.receipt}", 64 << 20)
            if raw is not None:
                report = receipt.from_archive(raw)
                if report.over:
                    work.copy.report(report, dict.fromkeys(STREAMS, 0))
                    return await self.result(work, report, handle)
                return self._with_its_container(work, handle)
        what = f"{work.target.label} does not run (exit code {found['State'].get('ExitCode', code)})"
        if handle is None or handle["lasting"]:
            return NotStarted(f"{what}, and there is no receipt in it", unrecorded=handle is None)
        return Unknown(f"{what}, and receipts do not outlive that in it")

    def _with_its_container(self, work: Work, handle: dict[str, Json] | None) -> Observation:
        work.copy.finish()
        message = f"it ended with its container: {work.target.label} was stopped while it ran"
        return Ended(False, dict(work.target.about), None, message, handle, cleanup=True)

    async def _look(self, work: Work) -> Report | None:
        """The receipt, and into the log what is new in it; all of it if it is over."""
        while True:
            asked = dict(work.copy.places)
            order = words(receipt.LOOK, work.receipt, *(str(asked[each]) for each in STREAMS))
            options = {"User": work.block.user} if work.block.user else {}
            try:
                said = await work.engine.run(await work.engine.execution(work.target.id, order, options))
            except Refused as error:
                raise NoAnswer(str(error)) from None  # it was stopped or paused in between: the next look says more
            report = read_report(said.stdout, said.stderr)
            if report is None or work.copy.report(report, asked) or not any(report.parts.values()):
                return report

    def _waited(self, work: Work) -> bool:
        """Whether output that children still hold open was waited for long enough."""
        since = self._ending.setdefault(work.call.call_key, time.monotonic())
        return time.monotonic() - since > _ENDING

    async def result(self, work: Work, report: Report, handle: dict[str, Json] | None) -> Ended:
        """The end that a receipt tells of. Raises ValueError for one that tells of none."""
        self._ending.pop(work.call.call_key, None)
        work.copy.finish()
        if work.copy.late:
            whole = Copy(Silence(), work.copy.redactor)
            await self._look(replace(work, copy=whole))
            work.copy.remember(whole)
        if report.code is None:
            raise ValueError("a receipt without an exit code is no end")
        return self._concluded(work, report.code, handle)

    def _concluded(self, work: Work, code: int, handle: dict[str, Json] | None) -> Ended:
        copy = work.copy
        values, flaw = command_result(
            code, bytes(copy.heads["stdout"]), bytes(copy.heads["stderr"]), self._result_limit
        )
        result: Json = {**work.target.about, **values}
        if code == 0 and flaw and work.call.uses_result:
            return Ended(False, result, code, flaw, handle, cleanup=True)
        message = ""
        if code != 0:
            said = last_line(bytes(copy.ends["stderr"]), bytes(copy.ends["stdout"]))
            message = f"exit code {code} in {work.target.label}" + (f": {said}" if said else "")
        return Ended(code == 0, result, code, message, handle, cleanup=True)


def _gone(work: Work, handle: dict[str, Json] | None) -> Observation:
    if handle is None:
        return NotStarted(f"{work.target.label} is gone", unrecorded=True)
    return Unknown(f"{work.target.label} is gone, and with it the receipt of what ran in it")
