"""A state folder with a past, made through the real store, and the real API server over it on a free port."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import uvicorn

from reconciler.api.app import create
from reconciler.api.connections import BoundedProtocol
from reconciler.api.serve import address, bind
from state.changes import Activated, Admitted, AttemptAdvanced, Called, Change, Intended, StepAdvanced, TaskAdvanced
from state.phases import Signal, TaskPhase, TriggerPhase
from state.records import (
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Origin,
    Pin,
    SourceRecord,
    TaskRecord,
    TriggerRecord,
    Uid,
    attempt_key,
    external_name,
    task_uid,
)
from state.store import Store
from state.triggers import Fired, Skipped, TriggerSeen, trigger_uid
from tests.pins import PINS

START = datetime.fromisoformat("2026-11-22T06:00:00+00:00")
CAUSE = Cause("commit", "c0ffee", "Ada", "Grade them")
ORIGIN = Origin("c0ffee" * 6 + "c0ff", "tasks/all.yaml", "b10b", "Ada", "ada@example.org", "Grade them")
PROBLEM = {
    "file": "jobs/bad.yaml",
    "line": 3,
    "column": 5,
    "code": "E-UNKNOWN-FIELD",
    "message": "unknown field `shedule`",
}


class World:
    """One state folder; each method commits and takes one second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.open(folder)
        self.now = START
        self.activate()

    def commit(self, *changes: Change) -> int:
        self.now += timedelta(seconds=1)
        return self.store.commit(changes, self.now).sequence

    def activate(self) -> None:
        source = SourceRecord(
            "main", "/srv/tasks", "main", ".", ORIGIN.commit, "Ada", "ada@example.org", "Grade them", START, START
        )
        good = [
            DefinitionRecord(
                pin.path,
                0,
                "b10b",
                ORIGIN.commit,
                pin.kind,
                pin.namespace,
                pin.name,
                pin.digest,
                pin.text,
                accepted=True,
            )
            for pin in PINS
        ]
        bad = DefinitionRecord(
            "jobs/bad.yaml",
            0,
            "b11b",
            ORIGIN.commit,
            "Job",
            "default",
            "bad",
            "",
            "",
            accepted=False,
            problems=(PROBLEM,),
        )
        self.commit(Activated(source, (*good, bad), ()))

    def admit(self, name: str, namespace: str = "demo", run: int = 1, **fields: Any) -> Uid:
        uid = task_uid("main", namespace, name, run)
        pins: tuple[Pin, ...] = PINS
        task = TaskRecord(
            uid, "main", namespace, name, run, "Workflow", "grade", ORIGIN, "d1", "d2", tuple(pin.digest for pin in pins),
            {"name": "alice"}, self.now, **fields,
        )  # fmt: skip
        self.commit(Admitted(task, pins, CAUSE))
        return uid

    def begin(self, uid: Uid, *paths: str) -> None:
        """Start the task and the steps `paths`, with an attempt at the last of them."""
        self.commit(TaskAdvanced(uid, Signal.START, CAUSE, expected_finish=self.now + timedelta(days=3)))
        self.attempt(uid, *paths)

    def attempt(self, uid: Uid, *paths: str, number: int = 1) -> AttemptRecord:
        key = attempt_key(uid, paths[-1], number)
        request = {"method": "GET", "url": "http://127.0.0.1:9/api1", "query": {"name": "****"}}
        made = AttemptRecord(
            uid, paths[-1], number, key, external_name(key), "demo", "http", "api1", request, {}, self.store.epoch
        )
        steps = [StepAdvanced(uid, path, Signal.START, CAUSE) for path in paths]
        self.commit(*steps, Intended(made, CAUSE))
        return made

    def poll(self, uid: Uid, path: str, message: str = "until is not true yet (result.name is None)") -> None:
        wake = self.now + timedelta(seconds=6)
        self.commit(
            AttemptAdvanced(
                uid, path, Signal.POLL, CAUSE, answered=1, answer={}, code=200, message=message, wake_at=wake
            )
        )

    def call(self, uid: Uid, path: str, number: int) -> None:
        self.commit(Called(uid, path, number))

    def succeed(self, uid: Uid, path: str, outputs: dict[str, Any]) -> None:
        done = AttemptAdvanced(uid, path, Signal.SUCCEED, CAUSE, answered=1, answer=outputs, outputs=outputs, code=200)
        self.commit(done, StepAdvanced(uid, path, Signal.SUCCEED, CAUSE, outputs=outputs))

    def fail(self, uid: Uid, path: str, message: str) -> None:
        failed = AttemptAdvanced(uid, path, Signal.FAIL, CAUSE, answered=1, code=500, message=message)
        step = StepAdvanced(uid, path, Signal.FAIL, CAUSE, reason="Failed", message=message, failed=True)
        self.commit(
            failed, step, TaskAdvanced(uid, Signal.FAIL, CAUSE, reason="Failed", message=f"{path} failed: {message}")
        )

    def finish(self, uid: Uid, outputs: dict[str, Any]) -> None:
        self.commit(TaskAdvanced(uid, Signal.SUCCEED, CAUSE, outputs=outputs))

    def trigger(self, name: str, spec: dict[str, Any], **fields: Any) -> TriggerRecord:
        """A trigger in force, with its definition."""
        body = {"apiVersion": "reconciler/v1", "kind": "Trigger", "metadata": {"name": name, "namespace": "demo"}}
        text = json.dumps({**body, "spec": {"task": {"workflow": "grade"}, **spec}})
        path = f"triggers/{name}.yaml"
        row = DefinitionRecord(path, 0, "b10b", ORIGIN.commit, "Trigger", "demo", name, "d", text, accepted=True)
        origin = replace(ORIGIN, path=path)
        made = TriggerRecord(
            trigger_uid("main", "demo", name), "main", "demo", name, origin, "d", "", TriggerPhase.ACTIVE, START, START
        )
        made = replace(made, **fields)
        known = self.store.source("main")
        assert known is not None
        self.commit(Activated(known, (row,), ()), TriggerSeen(made, CAUSE, "Introduced"))
        return made

    def close(self) -> None:
        self.store.close()


def nightly(world: World, now: datetime) -> None:
    """A trigger that was skipped twice and fired in between, one at commits, and one that is suspended."""
    day = timedelta(days=1)
    made = world.trigger("nightly", {"cron": "0 2 * * *", "timezone": "Asia/Shanghai"}, wake_at=now + day)
    for days, slot in ((3, "20261119T180000Z"), (2, "20261120T180000Z"), (1, "20261121T180000Z")):
        at = now - days * day
        if days == 2:
            world.admit(f"nightly-{slot}", trigger="nightly")
            world.commit(Fired(made.uid, slot, f"nightly-{slot}", at, "", now + day, CAUSE))
        else:
            world.commit(Skipped(made.uid, slot, at, "", now + day, "Overlap", "one is not over", CAUSE))
    world.trigger("build", {"onCommit": {"paths": ["app/**"]}})
    world.trigger("paused", {"cron": "0 2 * * *"}, phase=TriggerPhase.SUSPENDED, reason="Suspended", message="CHG-1")


def grade_class(folder: Path) -> World:
    """Alice polls in step1, 鲍勃 finished, carol failed, dave waits to be adopted."""
    world = World(folder)
    alice = world.admit("grade-alice", labels={"class": "a"})
    world.begin(alice, "step1")
    world.poll(alice, "step1")
    bob = world.admit("评分 鲍勃", "默认", labels={"class": "b"})
    world.begin(bob, "step1")
    world.succeed(bob, "step1", {"name": "****"})
    world.finish(bob, {"grade": "A"})
    carol = world.admit("grade-carol", labels={"class": "a"})
    world.begin(carol, "step1")
    world.fail(carol, "step1", "status 500: <b>no</b>\x1b[31m")
    world.admit("grade-dave", phase=TaskPhase.UNADOPTED)
    return world


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[str]:
    """The address of an API server over `folder`, in a thread of this process."""
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        create(folder, **options), http=BoundedProtocol, ws="none", log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = monotonic() + 10
    while not server.started and monotonic() < deadline:
        sleep(0.01)
    try:
        yield address(listener)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
