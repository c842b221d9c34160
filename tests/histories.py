"""Tasks, attempts and every change that is legal for them: the material of the tests of `state`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from state.changes import (
    Activated,
    Admitted,
    AttemptAdvanced,
    Called,
    Change,
    Cleaned,
    Controlled,
    Held,
    Intended,
    Noted,
    Released,
    Repinned,
    Retired,
    SourceReported,
    StepAdvanced,
    TaskAdvanced,
    TaskChange,
)
from state.phases import TABLE, AttemptPhase, Signal, StepPhase, TaskPhase, TriggerPhase
from state.records import (
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Json,
    Origin,
    Pin,
    Snapshot,
    SourceRecord,
    TaskRecord,
    TaskSnapshot,
    TriggerRecord,
    Uid,
    attempt_key,
    external_name,
    task_uid,
)
from state.room import QUEUED_FOR_GROUP
from state.triggers import Fired, Skipped, TriggerAdopted, TriggerSeen, trigger_uid

START = datetime(2026, 11, 22, 6, tzinfo=UTC)
COMMIT = Cause("commit", "c0ffee", "Ada 中文", "Grade them")
SEEN = Cause("observation", "key/1")
ORIGIN = Origin("c0ffee", "tasks/a.yaml", "b10b", "Ada", "ada@example.org", "Grade them", "")


def _pin(kind: str, name: str) -> Pin:
    text = f'{{"kind":"{kind}"}}'
    return Pin(kind, "demo", name, sha256(text.encode()).hexdigest(), text, "c0ffee", f"{name}.yaml")


PINS = (_pin("Workflow", "grade"), _pin("Job", "api"))
OTHER = replace(_pin("Job", "api"), text="{}", digest=sha256(b"{}").hexdigest(), commit="c0ffee7")
SOURCE = SourceRecord(
    "main", "/srv/repo", "main", ".", "c0ffee", "Ada", "ada@example.org", "Grade", START, START, START
)
PATHS = ("step1", "step2.api2", "step2.0")


def task(
    name: str = "alice", *, run: int = 1, namespace: str = "demo", pinned: bool = True, **fields: object
) -> TaskRecord:
    """A task as admission makes it."""
    digests = tuple(pin.digest for pin in PINS) if pinned else ()
    record = TaskRecord(
        task_uid("main", namespace, name, run),
        "main",
        namespace,
        name,
        run,
        "Workflow",
        "grade",
        ORIGIN,
        "digest",
        "spec",
        digests,
        {"name": name},
        START,
        labels={"app": "grade", "who": name},
    )
    return replace(record, **fields)


def admitted(record: TaskRecord) -> Admitted:
    return Admitted(record, PINS if record.pins else (), COMMIT)


def attempt(uid: Uid, path: str = "step1", number: int = 1, **fields: object) -> AttemptRecord:
    """An attempt as it is intended."""
    key = attempt_key(uid, path, number)
    request: dict[str, Json] = {"method": "GET", "url": "http://127.0.0.1/api", "ok": [1, 2.5, None, True, "上线"]}
    record = AttemptRecord(
        uid, path, number, key, external_name(key), "demo", "http", "api", request, {"/x": "db/p"}, 1
    )
    return replace(record, **fields)


def begun(record: TaskRecord, path: str = "step1") -> list[Change]:
    """From nothing to the first attempt at a step."""
    uid = record.uid
    return [
        admitted(record),
        TaskAdvanced(uid, Signal.START, SEEN),
        StepAdvanced(uid, path, Signal.START, SEEN),
        Intended(attempt(uid, path), SEEN),
    ]


def ended(uid: Uid, path: str = "step1", *, outputs: Json = None) -> list[Change]:
    """From an attempt under way to a finished task."""
    return [
        AttemptAdvanced(uid, path, Signal.SUCCEED, SEEN, answered=1, answer={"age": 20}, outputs=outputs, code=200),
        StepAdvanced(uid, path, Signal.SUCCEED, SEEN, outputs=outputs),
        TaskAdvanced(uid, Signal.SUCCEED, SEEN, outputs=outputs),
    ]


def activated(commit: str = "c0ffee", *names: str, removed: Iterable[tuple[str, int]] = ()) -> Activated:
    """A revision with one accepted Job for each of `names`, and a secret that they use."""
    jobs = [
        DefinitionRecord(f"{name}.yaml", 0, "b10b", commit, "Job", "demo", name, f"digest-{name}", "{}", accepted=True)
        for name in names
    ]
    return Activated(replace(SOURCE, commit=commit), tuple(jobs), tuple(removed), {"db/password": 12})


def legal(phase: TaskPhase | StepPhase | AttemptPhase) -> list[Signal | None]:
    """What may happen to a phase; None is news that change no phase."""
    return [None, *(signal for known, signal in TABLE if known is phase)]


def trigger(name: str = "nightly", **fields: object) -> TriggerRecord:
    """A trigger as it is introduced."""
    uid = trigger_uid("main", "demo", name)
    place = (uid, "main", "demo", name, ORIGIN, "digest", "0 2 * * * UTC")
    return replace(TriggerRecord(*place, TriggerPhase.ACTIVE, START, START), **fields)


def fired(record: TriggerRecord, at: datetime, slot: str = "20261122T020000Z") -> Fired:
    return Fired(record.uid, slot, f"{record.name}-{slot}", at, "seen", at + timedelta(hours=1), SEEN)


def skipped(record: TriggerRecord, at: datetime, slot: str = "20261122T030000Z") -> Skipped:
    return Skipped(record.uid, slot, at, "", None, "Overlap", "one runs", SEEN)


def _of_triggers(known: Mapping[Uid, TriggerRecord], at: datetime) -> list[Change]:
    new = [
        trigger(name, wake_at=at, phase=TriggerPhase((at.second % 2 and "active") or "removed")) for name in ("n", "m")
    ]
    found: list[Change] = [TriggerSeen(each, COMMIT, "Introduced", "it is new") for each in new]
    for each in known.values():
        found += [fired(each, at), skipped(each, at), TriggerAdopted(each.uid, SEEN)]
    return found


def possible(snapshot: Snapshot, gone: set[Uid], at: datetime) -> list[Change]:
    """Every kind of change that may come next, a few of each."""
    tasks = snapshot.tasks
    found: list[Change] = [SourceReported(SOURCE), activated(f"c{at.second}", "a", "b", removed=[("b.yaml", 0)])]
    for name in ("alice", "bob", "上线"):
        for run, pinned in ((1, True), (1, False), (2, True)):
            made = {"trigger": "n", "behind": "bob"} if name == "alice" and at.second % 2 else {}
            group = "main" if run == 1 else ""
            record = task(name, run=run, pinned=pinned, created_at=at, group=group, **made)
            known = tasks.get(record.uid)
            if record.uid not in gone and (known is None or not (known.record.pins or known.attempts)):
                found.append(admitted(record))
    found += _of_triggers(snapshot.triggers, at)
    return found + [change for each in tasks.values() for change in _of_task(each, at)]


def _of_task(each: TaskSnapshot, at: datetime) -> list[TaskChange]:
    uid = each.record.uid
    soon = at + timedelta(seconds=at.microsecond % 7)
    found: list[TaskChange] = [Held(uid, "restored", SEEN), Held(uid, "", SEEN), Released(uid, SEEN)]
    found += [Controlled(uid, "new", {"state": "suspended"}, {"SpecDrift": "it"}, "revoke", COMMIT)]
    found += [
        Noted(uid, {"ControlStale": "it"}, COMMIT, "ControlStale", "it", {"steps.a.skip": [{}, "ControlStale", "it"]})
    ]
    if each.record.pins:
        found += [Repinned(uid, (PINS[0], OTHER), {"name": "x"}, "c0ffee7", COMMIT)]
    for signal in legal(each.record.phase):
        found += [TaskAdvanced(uid, signal, SEEN, "Reason", "said", {"a": 1}, expected_finish=soon, deadline=soon)]
    for path in PATHS:
        step = each.steps.get(path)
        for signal in legal(step.phase if step else StepPhase.WAITING):
            said = ("m", ["o", path], soon, bool(signal))
            found.append(StepAdvanced(uid, path, signal, SEEN, "R", *said))
            found.append(StepAdvanced(uid, path, signal, SEEN, QUEUED_FOR_GROUP, *said, group="main"))
            found.append(StepAdvanced(uid, path, signal, SEEN, "", *said, group=path))
        found += _of_attempt(each, path, soon)
    over = not each.record.live and all(known.ended for known in each.attempts.values())
    return [*found, Retired(uid, COMMIT)] if over else found


def _of_attempt(each: TaskSnapshot, path: str, soon: datetime) -> list[TaskChange]:
    uid, known = each.record.uid, each.attempts.get(path)
    if known is None or known.ended:
        number = known.number + 1 if known else 1
        intended: list[TaskChange] = [Intended(attempt(uid, path, number, deadline=soon), SEEN)]
        return [*intended, Cleaned(uid, path, known.number)] if known else intended
    again = Called(uid, path, known.call, resend=True) if known.in_flight else Called(uid, path, known.call + 1)
    found: list[TaskChange] = [again]
    found += [
        AttemptAdvanced(uid, path, signal, SEEN, known.call, {"id": 7}, {"a": None}, 3, 0, "m", soon, cleanup=True)
        for signal in legal(known.phase)
    ]
    return found
