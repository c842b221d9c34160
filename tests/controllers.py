"""The real controller as a process of its own, over a real repository: started, asked, signalled, and always ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

from state.errors import StateError
from state.reader import Reader
from state.records import SourceRecord, TaskSnapshot
from tests.nursery import Child, nursery

COMMAND = (sys.executable, "-m", "reconciler.cli.app")
PATIENCE = 20.0

Found = TypeVar("Found")


def job(name: str, driver: str, more: str = "", labels: Mapping[str, str] | None = None) -> str:
    """The text of a Job whose driver block is `driver`; `more` are further lines of its spec."""
    lines = "".join(f"  {line}\n" for line in more.splitlines())
    return f"apiVersion: reconciler/v1\nkind: Job\nmetadata: {_metadata(name, labels)}\nspec:\n  {driver}\n{lines}---\n"


def _metadata(name: str, labels: Mapping[str, str] | None, **more: str) -> str:
    return json.dumps({"name": name, **more, **({"labels": dict(labels)} if labels else {})})


def task(
    name: str, spec: str, more: str = "", namespace: str = "default", labels: Mapping[str, str] | None = None
) -> str:
    """The text of a Task; `more` are further top-level lines."""
    head = f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {_metadata(name, labels, namespace=namespace)}\n"
    return f"{head}spec: {{{spec}}}\n{more}\n---\n"


def wait_for(look: Callable[[], Found], seconds: float = PATIENCE, *, about: Callable[[], object] = str) -> Found:
    """The first true thing that `look` finds; asks again until then."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s; {about()}"
        time.sleep(0.02)
    return found


class Controller:
    """`reconciler run` over `source` with the state folder `state`, with or without its API."""

    def __init__(
        self,
        source: Path | str,
        state: Path,
        *flags: str,
        api: bool = False,
        listen: str | None = "off",
        env: Mapping[str, str] | None = None,
        wrapped: tuple[str, ...] = (),
    ) -> None:
        self.state = state
        self.output = state.parent / f"{state.name}.log"
        self._output = self.output.open("ab")
        (state / "api.json").unlink(missing_ok=True)
        where = "127.0.0.1:0" if api else listen
        given = ("--listen", where) if where else ()
        words = ["run", "--source", str(source), "--state", str(state), *given, *flags]
        self.process = self._loading(words, env, wrapped) if env or wrapped else self._loaded(words)

    def _loading(
        self, words: Sequence[str], env: Mapping[str, str] | None, wrapped: Sequence[str] = ()
    ) -> subprocess.Popen[bytes] | Child:
        """A process of the system's, that has yet to load the product."""
        given, said = {**os.environ, **(env or {})}, self._output
        command = [*wrapped, *COMMAND, *words]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=given)

    def _loaded(self, words: Sequence[str]) -> subprocess.Popen[bytes] | Child:
        return nursery().start(words, self._output.fileno(), self._output.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._output.close()

    @property
    def text(self) -> str:
        """What it and all before it on this state folder have printed."""
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL; ended already is fine."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 12.0) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, when it ends by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {seconds} s; it said {self.text[-3000:]}") from None

    def until(self, look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
        """What `look` finds, while this controller runs."""

        def alive() -> Found:
            found = look()
            assert found or self.process.poll() is None, f"it has ended: {self.text[-3000:]}"
            return found

        return wait_for(alive, seconds, about=lambda: f"it said {self.text[-3000:]}")

    def started(self) -> Self:
        """Wait until it has the state folder."""
        mine = f"{self.process.pid}\n"
        self.until(lambda: (self.state / "lock").exists() and (self.state / "lock").read_text() == mine)
        return self

    # -- over the API ------------------------------------------------------------------------------------------------

    @property
    def api(self) -> dict[str, Any]:
        """Where its API listens and which process that is."""
        file = self.state / "api.json"
        return self.until(lambda: json.loads(file.read_text()) if file.exists() else {})

    def get(self, path: str) -> Any:
        """The answer of the API to a GET of `path` below /api/v1; None where there is nothing."""
        try:
            with urlopen(f"{self.api['address']}/api/v1{path}", timeout=10) as response:
                return json.load(response)
        except HTTPError as error:
            if error.code != 404:
                raise
            return None
        except (ConnectionError, OSError):
            return None

    def text_of(self, path: str) -> str:
        """The whole body of a GET of `path` below /api/v1, also of one that follows something to its end."""
        with urlopen(f"{self.api['address']}/api/v1{path}", timeout=30) as response:
            return str(response.read().decode())

    # -- over the database -------------------------------------------------------------------------------------------

    def found(self, name: str, namespace: str = "default") -> TaskSnapshot | None:
        return found(self.state, name, namespace)

    def reaches(self, name: str, *words: str, namespace: str = "default", seconds: float = PATIENCE) -> TaskSnapshot:
        """The task once its phase is one of `words`."""

        def there() -> TaskSnapshot | None:
            task = self.found(name, namespace)
            return task if task and task.record.phase.value in words else None

        snapshot = self.until(there, seconds)
        assert snapshot is not None
        return snapshot

    def follows(self, commit: str) -> None:
        """Wait until `commit` is in force."""
        self.until(lambda: self.revision() == commit)

    def revision(self) -> str:
        """The commit that is in force."""
        return next((each.commit for each in sources(self.state)), "")

    def conditions(self) -> dict[str, str]:
        """Reason by type of the conditions of its source, as the database has them."""
        return conditions(self.state)


def command(*words: object, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """`reconciler WORDS` as a process of its own, to its end. Raises subprocess.TimeoutExpired."""
    given = [str(each) for each in words]
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        child = nursery().start(given, stdout.fileno(), stderr.fileno())
        try:
            code = child.wait(seconds)
        finally:
            child.kill()
            child.wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(given, code, stdout.read(), stderr.read())


def found(state: Path, name: str, namespace: str = "default") -> TaskSnapshot | None:
    """A task as the database of `state` has it now; None without one, or without a database."""
    if not (state / "state.db").exists():
        return None
    reader = Reader(state)
    try:
        return reader.task(namespace, name)
    except StateError:
        return None  # its first moments: not a database yet
    finally:
        reader.close()


def conditions(state: Path) -> dict[str, str]:
    """Status, reason and message by type of the conditions of the only source in `state`."""
    return {
        each["type"]: f"{each['status']} {each['reason']} {each['message']}"
        for source in sources(state)
        for each in source.conditions
    }


def sources(state: Path) -> list[SourceRecord]:
    """The sources that the database of `state` has now; [] without one, or without a database."""
    if not (state / "state.db").exists():
        return []
    reader = Reader(state)
    try:
        return reader.sources()
    except StateError:
        return []
    finally:
        reader.close()


def run_until_idle(source: Path | str, state: Path, *flags: str, seconds: float = 60.0) -> Controller:
    """`run --until-idle` to its end; the ended controller."""
    with Controller(source, state, "--until-idle", *flags) as controller:
        controller.wait(seconds)
    return controller
