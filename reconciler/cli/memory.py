"""What a state folder remembers, as a forecast needs it: read beside the controller, which may be running."""

from collections.abc import Iterator
from pathlib import Path

from state.reader import Reader
from state.records import DefinitionRecord, Identity, Pin, Snapshot, SourceRecord, TaskSnapshot, TriggerRecord

_PAGE = 500


class Memory:
    """One state folder; one that is not there remembers nothing. Raises StateError."""

    def __init__(self, state: Path) -> None:
        self._reader = Reader(state) if (state / "state.db").exists() else None

    def close(self) -> None:
        """Let the folder go."""
        if self._reader:
            self._reader.close()

    def source(self, name: str) -> SourceRecord | None:
        """The source of this name, if a revision of it is in force."""
        known: list[SourceRecord] = self._reader.sources() if self._reader else []
        return next((each for each in known if each.name == name and each.activated_at), None)

    def definitions(self) -> list[DefinitionRecord]:
        """Every document of the active revision."""
        return list(self._definitions(self._reader)) if self._reader else []

    def snapshot(self, wanted: frozenset[Identity]) -> Snapshot:
        """The tasks that are alive or have one of the wanted identities, what is left of those that are gone, triggers,
        and how much is going on.
        """
        if self._reader is None:
            return Snapshot()
        tasks = {task.record.uid: task for task in self._tasks(self._reader, wanted)}
        missing = wanted - {task.record.identity for task in tasks.values()}
        gone = {each: runs for each in missing if (runs := self._reader.gone(*each))}
        triggers = {each.uid: each for each in self._triggers(self._reader)}
        return Snapshot(tasks, gone, self._reader.usage(), triggers=triggers)

    def pins(self, snapshot: Snapshot) -> dict[str, Pin]:
        """The definitions that these tasks keep, by digest."""
        digests = {digest for task in snapshot.tasks.values() for digest in task.record.pins}
        return self._reader.pins(digests) if self._reader else {}

    def _definitions(self, reader: Reader) -> Iterator[DefinitionRecord]:
        page = reader.definitions(limit=_PAGE)
        yield from page.items
        while page.next:
            page = reader.definitions(cursor=page.next, limit=_PAGE)
            yield from page.items

    def _triggers(self, reader: Reader) -> Iterator[TriggerRecord]:
        page = reader.triggers(limit=_PAGE)
        yield from page.items
        while page.next:
            page = reader.triggers(cursor=page.next, limit=_PAGE)
            yield from page.items

    def _tasks(self, reader: Reader, wanted: frozenset[Identity]) -> Iterator[TaskSnapshot]:
        cursor = None
        while True:
            page = reader.tasks(cursor=cursor, limit=_PAGE)
            uids = [record.uid for record in page.items if record.live or record.identity in wanted]
            yield from reader.snapshots(uids).values()
            cursor = page.next
            if cursor is None:
                return
