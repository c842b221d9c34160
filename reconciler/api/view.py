"""What the API reads: the state folder through one read-only handle, with the compiled programs of its tasks.

The folder need not exist yet, and its controller may come and go; whoever asks meanwhile gets `Unreadable`, which is
answered with 503. Everything here is a short reading, nothing stays open.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import chain
from pathlib import Path

from fastapi import HTTPException

from definitions.program import Program
from reconciler.api.queries import DefinitionsQuery, PageQuery, TasksQuery, TriggersQuery
from reconciler.observed import Programs
from reconciler.status import Document, summary
from reconciler.triggers import SHOWN, trigger
from state.logs import AttemptLog, Logs
from state.pages import Page, TaskFilter
from state.phases import State
from state.reader import Reader
from state.records import (
    AttemptRecord,
    DefinitionRecord,
    Event,
    Identity,
    Pin,
    RevisionRecord,
    SourceRecord,
    TaskRecord,
    TaskSnapshot,
    TriggerRecord,
    Uid,
)

ATTEMPTS_SHOWN = 500
_IDENTITIES_KEPT = 10_000
_HISTORY_PAGES = 10


class View:
    """One state folder as the routes ask for it; `clock` gives the time of an answer."""

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self.state = state
        self.clock = clock
        self.reader = Reader(state)
        self._logs = Logs(self.reader.folder.logs)
        self._programs = Programs(self.reader.pins)
        self._identities: OrderedDict[Uid, Identity] = OrderedDict()

    def sequence(self) -> int:
        """Grows with every commit of the controller."""
        return self.reader.sequence()

    def tasks(self, query: TasksQuery) -> tuple[list[Document], str | None]:
        """A page of tasks, each as it says itself but without its steps, and the cursor of the next page."""
        labels = dict(label.split("=", 1) for label in query.label)
        if len(labels) < len(set(query.label)):
            return [], None  # one label cannot have two values
        state = State(query.state) if query.state else None
        wanted = TaskFilter(query.namespace, None, state, query.workflow, labels)
        page, now = self.reader.tasks(wanted, sort=query.sort, cursor=query.cursor, limit=query.limit), self.clock()
        found = self.reader.snapshots([each.uid for each in page.items], placed=True)
        return [summary(each, self.program(each.record), now) for each in found.values()], page.next

    def task(self, namespace: str, name: str, run: int | None = None) -> TaskSnapshot:
        """One task whole, its latest run unless one is named; 404 where there is none."""
        found = self.reader.task(namespace, name, run)
        if found is None:
            raise HTTPException(404, self._missing(namespace, name, run))
        return found

    def program(self, record: TaskRecord) -> Program | None:
        """What the task runs; None while its definition is not accepted, or can no longer be compiled."""
        try:
            return self._programs.get(record.pins) if record.pins else None
        except (ValueError, LookupError):
            return None

    def pins(self, record: TaskRecord) -> list[Pin]:
        """The definitions that the task keeps, its target's first."""
        found = self.reader.pins(record.pins)
        return [found[digest] for digest in record.pins if digest in found]

    def attempts(self, uid: Uid, path: str | None, query: PageQuery) -> Page[AttemptRecord]:
        """A page of the attempts of a task, or at one step of it."""
        return self.reader.attempts(uid, path=path, cursor=query.cursor, limit=query.limit)

    def attempts_below(self, task: TaskSnapshot, path: str) -> list[AttemptRecord]:
        """The attempts at a step and at what it runs, the last so many of these."""
        paths = [each for each in task.attempts if each == path or each.startswith(f"{path}.")][-ATTEMPTS_SHOWN:]
        pages = (self.reader.attempts(task.record.uid, path=each, limit=ATTEMPTS_SHOWN).items for each in paths)
        return list(chain.from_iterable(pages))

    def attempt(self, uid: Uid, path: str, number: int | None) -> AttemptRecord | None:
        """One attempt; without `number` the latest at that path."""
        return self.reader.attempt(uid, path, number)

    def events(self, query: PageQuery, after: int, uid: Uid | None) -> tuple[list[tuple[Event, Identity]], str | None]:
        """A page of events beyond the sequence `after`, of all tasks or of one, each with the identity of its task."""
        page = self.reader.events(after, uid=uid, cursor=query.cursor, limit=query.limit)
        return self._identified(page.items), page.next

    def history(self, uid: Uid, number: int) -> list[Event]:
        """The latest events of a task, the newest first."""
        found, page = list[Event](), self.reader.events(uid=uid, limit=500)
        for _ in range(_HISTORY_PAGES):
            found = [*found, *page.items][-number:]
            if page.next is None:
                break
            page = self.reader.events(uid=uid, cursor=page.next, limit=500)
        return found[::-1]

    def sources(self) -> list[SourceRecord]:
        """All sources."""
        return self.reader.sources()

    def definitions(self, query: DefinitionsQuery) -> Page[DefinitionRecord]:
        """A page of definitions."""
        given = {"kind": query.kind, "namespace": query.namespace}
        return self.reader.definitions(**given, accepted=query.accepted, cursor=query.cursor, limit=query.limit)

    def triggers(self, query: TriggersQuery) -> tuple[list[Document], str | None]:
        """A page of triggers in force, and the cursor of the next one."""
        page = self.reader.triggers(namespace=query.namespace, cursor=query.cursor, limit=query.limit)
        return [self._trigger(each) for each in page.items], page.next

    def trigger(self, namespace: str, name: str) -> Document:
        """One trigger, also one whose file is gone; 404 where there never was one."""
        found = self.reader.trigger(namespace, name)
        if found is None:
            raise HTTPException(404, f"there is no trigger {namespace}/{name}")
        return self._trigger(found)

    def _trigger(self, record: TriggerRecord) -> Document:
        namespace, name = record.identity
        known = self.reader.definitions(kind="Trigger", namespace=namespace, name=name).items
        definition = next((each for each in known if each.text), None)
        firings, last = self.reader.firings(record.uid, SHOWN), self.reader.made(namespace, name)
        return trigger(record, definition, firings, last, self.clock())

    def revisions(self, query: PageQuery) -> Page[RevisionRecord]:
        """A page of activated revisions, the latest first."""
        return self.reader.revisions(cursor=query.cursor, limit=query.limit)

    def log(self, attempt: AttemptRecord) -> AttemptLog:
        """The log of an attempt, empty if it has written nothing."""
        return self._logs.log(attempt.uid, attempt.path, attempt.number)

    def heartbeat_age(self) -> float | None:
        """Seconds since the controller was heard of; None if there never was one."""
        try:
            beaten = (self.state / "heartbeat").stat().st_mtime
        except OSError:
            return None
        return max(0.0, self.clock().timestamp() - beaten)

    def counters(self) -> dict[str, object]:
        """What the controller counts itself; empty where it has written nothing."""
        try:
            found = json.loads((self.state / "counters.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def closed(self) -> str:
        """Why the controller makes no new call now, as it says itself; empty if it does, or does not say."""
        found = self.counters().get("closed")
        return found if isinstance(found, str) else ""

    def _identified(self, events: Iterable[Event]) -> list[tuple[Event, Identity]]:
        kept, events = self._identities, list(events)
        unknown = {event.uid for event in events} - kept.keys()
        if unknown:
            kept |= {uid: each.record.identity for uid, each in self.reader.snapshots(unknown).items()}
            kept |= self.reader.trigger_names(unknown - kept.keys())
        named = [(event, kept.get(event.uid, ("", ""))) for event in events]
        while len(kept) > _IDENTITIES_KEPT:
            kept.popitem(last=False)
        return named

    def _missing(self, namespace: str, name: str, run: int | None) -> str:
        if run is not None:
            return f"there is no run {run} of a task {namespace}/{name}"
        if gone := self.reader.gone(namespace, name):
            last = gone[-1]
            return f"the task {namespace}/{name} ran (run {last.run}, {last.phase}), and retention let its rows go"
        return f"there is no task {namespace}/{name}"
