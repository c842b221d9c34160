"""The only writer: every change of a tick in one transaction and one fsync, or none of them.

A store has the lock of its state folder and the newest epoch; a store that lost either writes nothing any more. It is
synchronous and made for one thread at a time. Tasks that were read or written lately stay in memory, because reading
them back from rows costs more than planning them; what is in memory is always what the last commit made durable.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from state.changes import Activated, Admitted, Change, Cleaned, Repinned, SourceReported, TaskChange, uid_of
from state.database import (
    CHECKPOINT_ABOVE,
    connect_writer,
    damaged,
    keep_open,
    require_ours,
    require_whole_log,
    sqlite_notes,
    translated,
)
from state.errors import Damaged, Fenced, Full, NotWritable, StateError, Unsuitable
from state.fold import apply
from state.folder import StateFolder
from state.lines import Lines
from state.loading import (
    Loaded,
    latest_runs,
    live_of_triggers,
    load_gone,
    load_tasks,
    load_triggers,
    load_usage,
    triggers_named,
)
from state.migrations import migrate
from state.questions import Questions
from state.records import Event, Identity, Snapshot, Uid
from state.room import Usage
from state.rows import to_microseconds
from state.soundness import Seen, counters, named, older, unsound
from state.triggers import TriggerChange, trigger_of
from state.wal import log_of
from state.writing import Turn, forget_firings, write_source, write_turn


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit made durable: the snapshot after it, its events (without their places in the history), and the
    change signal that readers see.
    """

    sequence: int
    snapshot: Snapshot
    events: tuple[Event, ...] = ()


def _random_name() -> str:
    return os.urandom(8).hex()


class Store(Questions):
    """One state folder, written. `notes` are what an operator should hear about it once.

    `held` says why nothing unfinished may go on by itself ("" normally): the database may be older than what has run.
    """

    def __init__(self, folder: StateFolder, connection: sqlite3.Connection, cached: int) -> None:
        self.folder = folder
        self.notes = sqlite_notes()
        self.epoch = 0
        self.controller = ""
        self.held = ""
        self.lines = Lines(connection, folder.database)
        self._connection = connection
        self._cached = cached
        self._cache: OrderedDict[Uid, Loaded] = OrderedDict()
        self._usage = Usage()
        self._sequence = 0
        self._number = 0
        self._broken: StateError | None = None

    @classmethod
    def open(
        cls, path: Path, *, wait: float | None = None, cached: int = 4096, new_name: Callable[[], str] = _random_name
    ) -> Self:
        """Become the controller of the state folder `path`, made if it is not there, and begin a new epoch.

        `wait`: seconds to wait for another controller to end; `new_name` names this controller at its first start.
        Raises Locked, TooNew, Damaged, NotWritable, Full.
        """
        folder = StateFolder(path)
        folder.prepare()
        folder.lock(wait)
        try:
            with translated(folder.database):
                folder.sweep()
                store = cls(folder, _opened(folder), cached)
                store._begin(new_name)
        except BaseException:
            folder.unlock()
            raise
        return store

    def snapshot(
        self,
        tasks: Collection[Uid],
        identities: Collection[Identity] = (),
        triggers: Collection[Identity] = (),
        asked: Collection[Uid] = (),
    ) -> Snapshot:
        """These tasks whole (unknown ones are left out), the latest run of each of `identities`, and the usage of all.

        `triggers` come with the tasks of theirs that are not over, the triggers `asked` alone.
        """
        with translated(self.folder.database):
            latest = latest_runs(self._connection, identities) if identities else []
            made = live_of_triggers(self._connection, triggers) if triggers else []
            loaded = self._load([*tasks, *latest, *made])
            gone = load_gone(self._connection, identities) if identities else {}
            named = triggers_named(self._connection, triggers) if triggers else []
            found = load_triggers(self._connection, [*named, *asked])
        rows = {uid: each.task for uid, each in loaded.items()}
        return Snapshot(rows, gone, self._usage, self.epoch, {uid: each.record for uid, each in found.items()})

    def commit(self, changes: Sequence[Change], at: datetime, snapshot: Snapshot | None = None) -> Committed:
        """Make all `changes` durable, in their order and as of `at`, or none of them; one fsync.

        They apply to what is stored, whatever `snapshot` says; the answer holds its tasks and those that changed.
        Raises IllegalTransition, AlreadyRan, Full: the store stays usable. After NotWritable, Damaged and Fenced it
        writes nothing more: nobody knows what of the last transaction is on the disk, and the next start finds out.
        """
        known = snapshot or Snapshot(usage=self._usage, epoch=self.epoch)
        if not changes:
            self._require_folder()
            return Committed(self._sequence, known)
        with self._transaction():
            turn, number = self._turn(changes, at)
            heads = write_turn(self._connection, turn, self._sequence)
            for change in changes:
                if isinstance(change, Activated | SourceReported):
                    write_source(self._connection, change)
            sequence = self._sequence + max(1, len(turn.applied.events))
            self._set("sequence", str(sequence))
        self._sequence, self._number = sequence, number
        self.folder.note_sequence(sequence)
        self._remember(turn, heads)
        return Committed(sequence, self._after(known, turn), turn.applied.events)

    def forget_firings(self, before: datetime, keep: int = 100) -> None:
        """Let go what triggers did before `before`, but for the last `keep` events of each."""
        with self._transaction():
            forget_firings(self._connection, to_microseconds(before), keep)

    def release(self) -> None:
        """A person decided about a held database: what is not finished may go on."""
        with self._transaction():
            self._set("held", "")
        self.held = ""

    def free_bytes(self) -> int:
        """What the file system of the state has left, in bytes."""
        return self.folder.free_bytes()

    def checkpoint(self, above: int = CHECKPOINT_ABOVE) -> bool:
        """Empty the write-ahead log if it has more than `above` bytes and no reader is in its way; whether it did."""
        log = log_of(self.folder.database)
        if not log.exists() or log.stat().st_size <= above:
            return False
        with self._trusted():
            (row,) = self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return bool(row[0] == 0)

    def close(self, *, keep_wal: bool = True) -> None:
        """Let the folder go. With `keep_wal` the connection stays open until the process ends, for read-only readers.

        An end by SIGKILL leaves the same files. Without it the database is one file, and readers need no more than that.
        """
        if self.folder.locked and not self._broken:
            with suppress(Full):  # the log stays, and the next start reads it
                self.checkpoint(above=0)
        if not keep_wal:
            self._connection.close()
        self.folder.unlock()

    def _begin(self, new_name: Callable[[], str]) -> None:
        """A new epoch, above all that the database and the folder know of."""
        stored = counters(self._connection)
        seen = Seen(self.folder.read_epoch(), self.folder.read_sequence())
        marked = self._meta()
        self.held = marked.get("held", "") or older(stored, seen)
        self.controller = marked.get("controller") or new_name()
        self.epoch = stored.epoch
        epoch = max(stored.epoch, seen.epoch or 0) + 1
        with self._transaction():
            self._set("epoch", str(epoch))
            self._set("controller", self.controller)
            self._set("held", self.held)
        self.epoch = epoch
        self.folder.know_files()
        self.folder.write_epoch(self.epoch)
        self.checkpoint(above=0)  # after a failed fsync the page cache may say more than the disk: this writes it again
        self._recount()
        self._require_sound()
        self.folder.note_sequence(self._sequence)

    def _require_sound(self) -> None:
        """What is not over is acted upon, so its history must hold; the whole database is for `check-state`."""
        for what, where in unsound(self._connection, self.live()):
            raise damaged(self.folder.database, f"{what}: {named(self._connection, where)}")

    def _recount(self) -> None:
        self._cache.clear()
        self._usage = load_usage(self._connection)
        self._sequence = counters(self._connection).sequence
        (row,) = self._rows("SELECT coalesce(max(number), 0) FROM tombstones")
        self._number = row[0]

    def _turn(self, changes: Sequence[Change], at: datetime) -> tuple[Turn, int]:
        """What `changes` come to; each newly admitted task gets the next number, which comes back as the last given."""
        told = [each for each in changes if not isinstance(each, Activated | SourceReported)]
        before = self._load({uid_of(each) for each in told if not isinstance(each, TriggerChange)})
        seen = load_triggers(self._connection, {trigger_of(each) for each in told if isinstance(each, TriggerChange)})
        numbers = {uid: each.task.record.number for uid, each in before.items()}
        number = self._number
        numbered: list[TaskChange | TriggerChange] = []
        for change in told:
            if isinstance(change, Admitted):
                number += change.task.uid not in numbers
                task = replace(change.task, number=numbers.setdefault(change.task.uid, number))
                numbered.append(replace(change, task=task))
            else:
                numbered.append(change)
        tasks = {uid: each.task for uid, each in before.items()}
        triggers = {uid: each.record for uid, each in seen.items()}
        applied = apply(Snapshot(tasks, usage=self._usage, epoch=self.epoch, triggers=triggers), numbered, at)
        admitted = {each.task.uid: each for each in numbered if isinstance(each, Admitted)}
        cleaned = [each for each in numbered if isinstance(each, Cleaned)]
        repinned = [each for each in numbered if isinstance(each, Repinned)]
        return Turn(before, admitted, cleaned, repinned, applied, at, seen), number

    def _load(self, uids: Collection[Uid]) -> dict[Uid, Loaded]:
        """These tasks, from memory where they are there."""
        missing = [uid for uid in uids if uid not in self._cache]
        read = dict(load_tasks(self._connection, missing))
        found = {uid: each for uid in uids if (each := self._cache.get(uid) or read.get(uid))}
        for uid, each in found.items():
            self._keep(uid, each)
        return found

    def _keep(self, uid: Uid, loaded: Loaded) -> None:
        self._cache[uid] = loaded
        self._cache.move_to_end(uid)
        if len(self._cache) > self._cached:
            self._cache.popitem(last=False)

    def _remember(self, turn: Turn, heads: Mapping[Uid, str]) -> None:
        self._usage = turn.applied.snapshot.usage
        for uid, task in turn.applied.snapshot.tasks.items():
            self._keep(uid, Loaded(task, heads[uid]))
        for uid in turn.applied.retired:
            self._cache.pop(uid, None)

    def _after(self, known: Snapshot, turn: Turn) -> Snapshot:
        tasks = {**known.tasks, **turn.applied.snapshot.tasks}
        for uid in turn.applied.retired:
            tasks.pop(uid, None)
        triggers = {**known.triggers, **turn.applied.snapshot.triggers}
        return replace(known, tasks=tasks, usage=self._usage, epoch=self.epoch, triggers=triggers)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and only while our epoch is the newest; whatever fails, memory is what the disk says."""
        if not self.folder.locked:
            raise Fenced(f"{self.folder.path} was let go: open it again to write")
        if self._broken:
            raise self._broken
        self._require_folder()
        with self._trusted(), translated(self.folder.database):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._require_epoch()
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._cache.clear()
                raise

    @contextmanager
    def _trusted(self) -> Iterator[None]:
        """After a write or an fsync that failed nobody knows what is on the disk: this store writes nothing more."""
        try:
            yield
        except (NotWritable, Damaged) as error:
            self._broken = error
            raise

    def _require_folder(self) -> None:
        """What was sent by now was written where the next start finds it; so also a turn without a change asks."""
        with self._trusted():
            self.folder.require_same_files()

    def _require_epoch(self) -> None:
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        if row != (str(self.epoch),):
            raise Fenced(
                f"another controller took over {self.folder.path} (epoch {row and row[0]}, ours is {self.epoch}): "
                "nothing was written; end this one"
            )

    def _meta(self) -> dict[str, str]:
        return dict(self._rows("SELECT name, value FROM meta"))

    def _set(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


def _opened(folder: StateFolder) -> sqlite3.Connection:
    """The database of `folder`, whole, in WAL mode and with this release's schema."""
    require_whole_log(folder.database)
    connection = connect_writer(folder.database)
    try:
        require_ours(connection, folder.database)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(folder.database, found)
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise Unsuitable(f"{folder.database} cannot have a write-ahead log on this file system: use a local disk")
        migrate(connection, folder.database)
    finally:
        keep_open(connection)  # also after an error: closing would write the log into a database that is not whole
    return connection
