"""A driver block on its way to its target: secrets put in, scalars spelled as text, and a guard for what comes back."""

import asyncio
import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from definitions.values import Json, spell
from reconciler.drivers.protocol import Call, Ended, LogSink, NoNews, NotStarted, Observation, Running, Unknown
from reconciler.secrets.forms import forms
from reconciler.secrets.redaction import RedactedStream, Redactor


def fill(call: Call) -> tuple[dict[str, Any], Redactor]:
    """The block with the secret values in their places, and the Redactor that hides them.

    Raises SecretUnavailable, and ValueError where a pointer leads nowhere.
    """
    block: dict[str, Any] = dict(call.request)
    if not call.secret_references:
        return block, _NOTHING
    block = copy.deepcopy(block)
    values = {pointer: call.secrets.resolve(reference) for pointer, reference in call.secret_references.items()}
    for pointer, value in values.items():
        _put(block, pointer, value)
    return block, Redactor(forms(values.values()))


_NOTHING = Redactor(())


def _put(block: Any, pointer: str, value: str) -> None:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    try:
        for part in parts[:-1]:
            block = block[_key(block, part)]
        block[_key(block, parts[-1])] = value
    except (IndexError, KeyError, TypeError, ValueError):
        raise ValueError(f"the secret's place {pointer} is not in the request") from None


def _key(container: Any, part: str) -> str | int:
    return int(part) if isinstance(container, list) else part


def environment(values: Any) -> dict[str, str]:
    """Environment variables with every value as text; those that are None are left out. Raises ValueError for a name."""
    found = {name: spell(value) for name, value in (values or {}).items() if value is not None}
    if bad := [name for name in found if "=" in name or not name]:
        raise ValueError(f"{bad[0]!r} is not the name of an environment variable")
    return found


def require_passable(texts: Iterable[str]) -> None:
    """Raise ValueError for a text that no process can be given, in a container or out of one."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("half of a character cannot be handed to a process") from None
        if "\0" in text:
            raise ValueError("a NUL character cannot be handed to a process")


def redacted(value: Json, redactor: Redactor) -> Json:
    """`value` with stars in every text and key; a number that spells a secret becomes stars whole."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, list):
        return [redacted(each, redactor) for each in value]
    if isinstance(value, dict):
        return {redactor.text(key): redacted(each, redactor) for key, each in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool) and redactor.text(str(value)) != str(value):
        return "***"
    return value


def without_secrets(seen: Observation, redactor: Redactor) -> Observation:
    """What was seen, with stars in everything that a driver took from its target."""
    match seen:
        case Ended(result=result, message=message):
            return replace(seen, result=redacted(result, redactor), message=redactor.text(message))
        case NotStarted(proof=proof):
            return replace(seen, proof=redactor.text(proof))
        case Unknown(evidence=evidence):
            return replace(seen, evidence=redactor.text(evidence))
        case NoNews(why=why):
            return replace(seen, why=redactor.text(why))
        case Running():
            return seen


class GuardedLog:
    """A LogSink that lets no secret through, also not over the border of two writes."""

    def __init__(self, log: LogSink, redactor: Redactor) -> None:
        self._log = log
        self._redactor = redactor
        self._streams: dict[str, RedactedStream] = {}

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Pass on what can be shown now."""
        guard = self._streams.setdefault(stream, RedactedStream(self._redactor))
        if shown := guard.take(data):
            self._log.write(shown, stream)

    def line(self, text: str) -> None:
        """A line of the driver itself."""
        self._log.write(self._redactor.text(text).encode(errors="replace") + b"\n", "driver")

    def close(self) -> None:
        """Pass on what was held back."""
        for stream, guard in self._streams.items():
            if rest := guard.finish():
                self._log.write(rest, stream)


class GatheredLog:
    """A LogSink for one that speaks at its end: what is said is kept until a LogWriter writes it."""

    def __init__(self, log: LogSink) -> None:
        self._log = log
        self._said: list[tuple[bytes, str]] = []

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Keep it."""
        self._said.append((data, stream))

    @property
    def empty(self) -> bool:
        """Nothing is kept."""
        return not self._said

    def release(self) -> None:
        """Write what is kept."""
        said, self._said = self._said, []
        for data, stream in said:
            self._log.write(data, stream)


class LogWriter:
    """Writes gathered logs by a thread: the first byte makes a file, which waits for the disk while a commit has it.

    One thread at a time, and what comes meanwhile is written together after it: threads for each would take the
    interpreter from the loop again and again.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[GatheredLog, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, log: GatheredLog) -> None:
        """Write what was said; it is there when this returns."""
        if log.empty:
            return
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((log, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())  # of nobody's call, so that none takes it along
        await written

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failures = await asyncio.to_thread(lambda logs: [_failure(log) for log in logs], [log for log, _ in batch])
            for (_, written), failure in zip(batch, failures, strict=True):
                if written.done():
                    continue  # nobody waits for it any more
                if failure is None:
                    written.set_result(None)
                else:
                    written.set_exception(failure)


def _failure(log: GatheredLog) -> Exception | None:
    try:
        log.release()
    except Exception as error:
        return error
    return None
