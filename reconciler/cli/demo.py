"""The demonstration: a commit becomes a finished workflow, and a crash is survived, before your eyes.

It uses the product only as a person would: Git commits, the command `reconciler run`, and reads of the API. Everything
it claims it checks, and the exit code is 0 only if all of that was true.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from reconciler.cli import client as api
from reconciler.cli import screen
from reconciler.cli.children import Child, wait_for
from reconciler.cli.client import HttpClient, NotFound
from reconciler.cli.failure import DONE, FAILED, Failure
from reconciler.cli.repository import Repository
from reconciler.cli.witness import Witness, check, get
from reconciler.demo_service import OUT_OF_ORDER

NAMESPACE = "demo"
NOT_READY = 3
_PATIENCE = 30.0
_LOOK_AGAIN = 0.15
_SERVICE_IN_FILES = "http://127.0.0.1:9999"
_ENDED = {"FINISHED", "FAILED", "REVOKED"}
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Demo Author",
    "GIT_AUTHOR_EMAIL": "demo@example.invalid",
    "GIT_COMMITTER_NAME": "Demo Author",
    "GIT_COMMITTER_EMAIL": "demo@example.invalid",
}
_TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{workflow: grade, with: {{name: {person}}}}}
"""


_CONTAINER = """\
apiVersion: reconciler/v1
kind: Job
metadata: {{name: inside, namespace: {namespace}}}
spec:
  container:
    run: {{image: {image}, command: [sh, -c, 'echo "{{\\"where\\": \\"$(hostname)\\"}}"']}}
  outputs: {{where: result.json.where}}
---
apiVersion: reconciler/v1
kind: Task
metadata: {{name: inside-a-container, namespace: {namespace}}}
spec: {{job: inside}}
"""


def show(image: str = "") -> int:
    """Runs the demonstration, with an `image` also a step in a real container. 0 if everything that it says was checked and true, else 1."""
    started = time.monotonic()
    old = {each: signal.signal(each, _interrupted) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-demo-")))
            Demonstration(folder, stack, image).run()
    except Failure as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return FAILED
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)
    print(f"\nEverything above was checked. It took {time.monotonic() - started:.0f} s; nothing was left behind.")
    print("Your own: `reconciler init my-operations`")
    return DONE


def _interrupted(number: int, _frame: object) -> None:
    """Ends by an exception, so that the children are ended on the way out."""
    sys.exit(128 + number)


class Demonstration:
    """Its folder, its children and what they have to prove."""

    def __init__(self, folder: Path, stack: ExitStack, image: str = "") -> None:
        self._image = image
        self._folder = folder
        self._stack = stack
        self._repository = Repository(folder / "repository", _environment())
        self._state = folder / "state"
        self._service: Child
        self._service_address = ""
        self._witness: Witness
        self._controller: Child
        self._api: HttpClient

    def run(self) -> None:
        """The whole story, in order."""
        self._start_service()
        self._make_repository()
        self._start_controller()
        self._first_task()
        self._second_task()
        self._crash()
        self._failure()
        if self._image:
            self._container()
        self._read_back()

    def _start_service(self) -> None:
        _say("1. Something to call: a small service on this machine with six APIs.")
        log = self._folder / "service.log"
        arguments = ("demo-service", "--listen", "127.0.0.1:0", "--not-ready", str(NOT_READY))
        self._service = self._stack.enter_context(Child(log, *arguments, environment=_environment()))
        self._service_address = wait_for(
            "the service's address", lambda: _address(self._service.text()), self._service, _PATIENCE
        )
        self._witness = Witness(self._service_address, NOT_READY)
        print(f"   It listens on {self._service_address}. Its api2 knows no age for the first {NOT_READY} polls.")

    def _make_repository(self) -> None:
        _say("2. What should run: a Git repository with one workflow, six jobs and one task.")
        self._repository.folder.mkdir()
        self._repository.create()
        written = dict(_definitions(files("definitions").joinpath("demo")))
        for name, text in written.items():
            file = self._repository.folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text.replace(_SERVICE_IN_FILES, self._service_address), encoding="utf-8")
        commit = self._repository.commit(list(written), "Grade Alice")
        print(f"   Committed {len(written)} files as {commit}, among them grade.yaml and tasks/grade-alice.yaml.")

    def _start_controller(self) -> None:
        arguments = (
            "run",
            "--source",
            str(self._repository.folder),
            "--state",
            str(self._state),
            "--listen",
            "127.0.0.1:0",
        )
        (self._state / "api.json").unlink(missing_ok=True)
        log = self._folder / "controller.log"
        self._controller = self._stack.enter_context(Child(log, *arguments, environment=_environment()))
        self._api = HttpClient(wait_for("the API's address", self._api_address, self._controller, _PATIENCE))
        wait_for("the first answer of the API", lambda: self._ask("/tasks"), self._controller, _PATIENCE)

    def _api_address(self) -> str | None:
        try:
            return str(json.loads((self._state / "api.json").read_text())["address"])
        except (OSError, ValueError, KeyError):
            return None

    def _ask(self, path: str) -> dict[str, Any] | None:
        try:
            return api.get(self._api, path)
        except Failure:
            return None

    def _first_task(self) -> None:
        _say("3. The loop: `reconciler run` follows the repository. Nobody calls it; it saw the commit.")
        print("   step1, then step2 and step3, then step4; step3 waits for step2's age. This is the live tree:\n")
        self._watch("grade-alice")

    def _second_task(self) -> None:
        _say("4. A second task is a second commit. The controller notices by itself.")
        begun = time.monotonic()
        self._commit_task("grade-bob", "bob")
        wait_for("the second task", lambda: self._task("grade-bob"), self._controller, _PATIENCE)
        print(f"   Picked up {time.monotonic() - begun:.2f} s after `git commit`.\n")
        self._watch("grade-bob")

    def _crash(self) -> None:
        _say("5. A crash. The controller is killed (SIGKILL) in the middle of a third task.")
        self._commit_task("grade-carol", "carol")
        task = wait_for("the middle of the third task", self._half_done, self._controller, _PATIENCE)
        pid = self._controller.pid
        self._controller.kill()
        before = self._witness.calls(task)["/api1"]
        print(f"   Process {pid} is dead. Done by then: {', '.join(_finished(task['status']['steps']))}.")
        print("   Now it starts again, on the same state folder:\n")
        self._start_controller()
        self._watch("grade-carol", resent=1)
        after = self._witness.calls(task)["/api1"]
        print(f"   api1, which step1 had called before the crash, was called {before} time then and {after} in all.")
        check("the finished step was not called again", before == after == 1)

    def _half_done(self) -> Mapping[str, Any] | None:
        """The third task once step1 has finished and step2 has asked at least once."""
        task = self._task("grade-carol")
        steps = {step["path"]: step for step in task["status"]["steps"]} if task else {}
        if not task or steps["step1"]["state"] != "FINISHED":
            return None
        return task if self._witness.calls(task).get("/api2") else None

    def _failure(self) -> None:
        _say(f"6. A failure. The service's api1 is out of order for {OUT_OF_ORDER}.")
        name = f"grade-{OUT_OF_ORDER}"
        self._commit_task(name, OUT_OF_ORDER)
        wait_for("the failure", lambda: self._ended(name, "FAILED"), self._controller, _PATIENCE)
        print(f"   `reconciler why {name}` says:\n")
        why = self._command("why", f"{NAMESPACE}/{name}", "--server", self._api.address)
        check("why names the step and what it was answered", "step1" in why and "status 503" in why)
        get(f"{self._service_address}/mend")
        print("   Somebody mends the service. A retry is a commit, too:\n")
        retry = ("--server", self._api.address, "--source", str(self._repository.folder))
        self._command("retry", f"{NAMESPACE}/{name}", "step1", *retry)
        wait_for("the retry", lambda: self._ended(name, "FINISHED"), self._controller, _PATIENCE)
        task = api.get(self._api, f"/tasks/{NAMESPACE}/{name}")
        calls = self._witness.calls(task)
        print(f"   {name} is FINISHED: api1 was called {calls['/api1']} times, api5 {calls['/api5']} time.")
        check(
            "the retried step has two attempts, and nothing else was done twice",
            calls["/api1"] == 2 == calls["/api5"] + 1,
        )

    def _ended(self, name: str, state: str) -> Mapping[str, Any] | None:
        task = self._task(name)
        return task if task and task["status"]["state"] == state else None

    def _command(self, *arguments: str) -> str:
        """Run a command as a person would, and show what it says."""
        words = [sys.executable, "-m", "reconciler.cli.app", *arguments]
        done = subprocess.run(words, env=_environment(), capture_output=True, text=True, timeout=_PATIENCE, check=False)
        for line in (done.stdout + done.stderr).splitlines():
            print(f"     {line}")
        print(flush=True)
        if done.returncode:
            raise Failure(f"`reconciler {' '.join(arguments)}` ended with {done.returncode}")
        return done.stdout

    def _container(self) -> None:
        _say(f"7. A container. The next task runs in a new one of {self._image}, on the engine at hand.")
        text = _CONTAINER.format(namespace=NAMESPACE, image=json.dumps(self._image))
        (self._repository.folder / "inside.yaml").write_text(text, encoding="utf-8")
        print(f"   Committed inside.yaml as {self._repository.commit(['inside.yaml'], 'Look inside a container')}.")
        name = "inside-a-container"
        found = wait_for("the container", lambda: self._over(name), self._controller, 120)
        status = found["status"]
        print(f"   {name} is {status['state']}: {status['outputs'] or status['message']}")
        check("the container gave its result", status["state"] == "FINISHED" and bool(status["outputs"]["where"]))

    def _over(self, name: str) -> Mapping[str, Any] | None:
        task = self._task(name)
        return task if task and task["status"]["state"] in _ENDED else None

    def _read_back(self) -> None:
        _say(f"{7 + bool(self._image)}. Reading it back. The API offers, among others:")
        for path in ("/", "/api/v1/tasks", f"/api/v1/tasks/{NAMESPACE}/grade-alice", "/api/v1/events", "/openapi.json"):
            print(f"   {self._api.address}{path}")
        path = f"/tasks/{NAMESPACE}/grade-alice/document"
        document = api.get(self._api, path)
        print(f"   {self._api.address}/api/v1{path} answers:\n")
        _print_document(document)
        step4 = document["step_info"]["step4"]
        check("the document says FINISHED", document["status"] == "FINISHED" and step4["status"] == "FINISHED")
        check("the document's step4 has the grade", step4["response"] == {"grade": "A", "msg": "ok"})

    def _commit_task(self, name: str, person: str) -> None:
        text = _TASK.format(name=name, namespace=NAMESPACE, person=person)
        (self._repository.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        commit = self._repository.commit([f"{name}.yaml"], f"Grade {person.title()}")
        print(f"   Committed {name}.yaml as {commit}.")

    def _task(self, name: str) -> Mapping[str, Any] | None:
        try:
            return api.get(self._api, f"/tasks/{NAMESPACE}/{name}")
        except NotFound:
            return None

    def _watch(self, name: str, resent: int = 0) -> None:
        """Shows a task until it has ended, and checks how it ended and what it took."""
        screen.follow(self._versions(name))
        task = api.get(self._api, f"/tasks/{NAMESPACE}/{name}")
        check(f"{name} is FINISHED", task["status"]["state"] == "FINISHED")
        check("its grade is A", task["status"]["outputs"]["grade"] == "A")
        self._witness.confirm(task, resent)

    def _versions(self, name: str) -> Iterator[Mapping[str, Any]]:
        deadline = time.monotonic() + _PATIENCE
        found = wait_for(f"the task {name}", lambda: self._task(name), self._controller, _PATIENCE)
        while found:
            yield found
            if found["status"]["state"] in _ENDED or time.monotonic() > deadline:
                return
            time.sleep(_LOOK_AGAIN)
            found = self._task(name) or found


def _definitions(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of every definition file below `folder`."""
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _definitions(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name, entry.read_text(encoding="utf-8")


def _finished(steps: list[Mapping[str, Any]]) -> list[str]:
    return [step["path"] for step in steps if step["state"] == "FINISHED"]


def _address(text: str) -> str | None:
    found = re.search(r"http://[\d.]+:\d+", text)
    return found.group() if found else None


def _environment() -> dict[str, str]:
    """The user's environment without settings of the product or of git, and with an author for the commits."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "GIT_"))}
    return kept | _AUTHOR | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _print_document(document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        if key != "step_info":
            print(f"   {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    for name, step in document["step_info"].items():
        print(f"   step_info.{name}: {json.dumps(step, ensure_ascii=False)}")
    print()


if __name__ == "__main__":
    sys.exit(show(*sys.argv[1:2]))
