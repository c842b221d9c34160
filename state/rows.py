"""Rows become records and records become rows here, by one table of column types, and nowhere else.

A column is a field of the record with the same name; its SQL form follows from the field's annotation. A table may have
columns of its own besides, computed from the record, so that a list can be filtered and ordered by an index.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

from state.phases import PUBLIC, AttemptPhase, State, StepPhase, TaskPhase, TriggerPhase
from state.records import (
    AttemptKey,
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Event,
    Json,
    Origin,
    Pin,
    RevisionRecord,
    SourceRecord,
    StepRecord,
    TaskRecord,
    Tombstone,
    TriggerRecord,
    Uid,
)

R = TypeVar("R")
Cell = None | int | str
Row = Sequence[Cell]

NEVER = 2**62
"""What stands for "no time" in a column that is ordered by time: after all of them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_escaped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


def to_microseconds(time: datetime) -> int:
    """An aware time as microseconds since 1970 in UTC, without a detour by floats."""
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(number: int) -> datetime:
    """The time in UTC of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=number)


def to_json(value: Any) -> str:
    """Compact JSON; a lone surrogate, which UTF-8 does not have, stays an escape."""
    text = _plain(value)
    return text if text.isascii() or _encodable(text) else _escaped(value)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str) -> str:
    return value if value.isascii() else value.encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class _Codec:
    """How values of one annotation are kept; None for either direction: as they are."""

    encode: Callable[[Any], Cell] | None = None
    decode: Callable[[Any], Any] | None = None


def _optional(codec: _Codec) -> _Codec:
    encode, decode = codec.encode, codec.decode
    return _Codec(
        encode and (lambda value: None if value is None else encode(value)),
        decode and (lambda cell: None if cell is None else decode(cell)),
    )


def _dataclass(kind: type) -> _Codec:
    """A record within a record, as an object. One cause stands behind many events, so texts are made once."""
    names = [each.name for each in fields(kind)]
    values = attrgetter(*names)

    @lru_cache(maxsize=1024)
    def encode(value: Any) -> str:
        return to_json(dict(zip(names, values(value), strict=True)))

    return _Codec(encode, lambda cell: kind(**_decode(cell)))


_TIME = _Codec(to_microseconds, from_microseconds)
_LIST = _Codec(
    lambda value: to_json(list(value)) if value else "[]", lambda cell: tuple(_decode(cell)) if cell != "[]" else ()
)
_OBJECT = _Codec(
    lambda value: to_json(dict(value)) if value else "{}", lambda cell: _decode(cell) if cell != "{}" else {}
)

_CODECS: dict[Any, _Codec] = {
    str: _Codec(_text),
    Uid: _Codec(),
    AttemptKey: _Codec(),
    int: _Codec(),
    int | None: _Codec(),
    bool: _Codec(int, bool),
    datetime: _TIME,
    datetime | None: _optional(_TIME),
    TaskPhase: _Codec(attrgetter("value"), TaskPhase),
    StepPhase: _Codec(attrgetter("value"), StepPhase),
    AttemptPhase: _Codec(attrgetter("value"), AttemptPhase),
    TriggerPhase: _Codec(attrgetter("value"), TriggerPhase),
    Json: _optional(_Codec(to_json, _decode)),
    Mapping[str, Json]: _OBJECT,
    Mapping[str, str]: _OBJECT,
    tuple[str, ...]: _LIST,
    tuple[int, ...]: _LIST,
    tuple[Mapping[str, Json], ...]: _LIST,
    tuple[Mapping[str, str], ...]: _LIST,
    Origin: _dataclass(Origin),
    Cause: _dataclass(Cause),
    Mapping[str, Cause]: _Codec(
        lambda value: to_json({name: asdict(cause) for name, cause in value.items()}) if value else "{}",
        lambda cell: {name: Cause(**said) for name, said in _decode(cell).items()} if cell != "{}" else {},
    ),
}


class ForeignRow(ValueError):
    """A cell holds what no writer of ours puts there."""


class Table(Generic[R]):
    """A table whose rows are records of one kind.

    `key` are the columns that find a row, `fixed` the others that never change after the insert, `extra` columns that
    the record does not have: name -> function of the record.
    """

    def __init__(
        self,
        name: str,
        record: type[R],
        key: Sequence[str],
        *,
        fixed: Iterable[str] = (),
        extra: Mapping[str, Callable[[R], Cell]] | None = None,
    ) -> None:
        self.name = name
        self._record = record
        self._extra = dict(extra or {})
        columns = fields(record)  # type: ignore[arg-type]  # every record is a dataclass
        self.names = tuple(each.name for each in columns)
        codecs = {each.name: _CODECS[each.type] for each in columns}
        self._whole = _Projection(self.names, codecs)
        self._decoders = [(at, codec.decode) for at, codec in enumerate(codecs.values()) if codec.decode]
        changing = [each for each in self.names if each not in {*key, *fixed}]
        self._changing = _Projection((*changing, *key), codecs) if changing else self._whole
        self._changing_count = len(changing)
        self.columns = ", ".join(f'"{each}"' for each in self.names)
        everything = (*self.names, *self._extra)
        self.insert = (
            f"INSERT INTO {name} ({', '.join(map(_quoted, everything))}) VALUES ({', '.join('?' * len(everything))})"
        )
        found = " AND ".join(f"{_quoted(each)} = ?" for each in key)
        self.update = (
            f"UPDATE {name} SET {', '.join(f'{_quoted(each)} = ?' for each in (*changing, *self._extra))} WHERE {found}"
        )
        self.upsert = f"{self.insert} ON CONFLICT ({', '.join(map(_quoted, key))}) DO UPDATE SET " + ", ".join(
            f"{_quoted(each)} = excluded.{_quoted(each)}" for each in (*changing, *self._extra)
        )

    def selected(self, alias: str) -> str:
        """The columns of a record, in the order that `record` expects, of the table under another name in a query."""
        return ", ".join(f"{alias}.{_quoted(each)}" for each in self.names)

    def row(self, record: R) -> list[Cell]:
        """What `insert` and `upsert` bind."""
        return self._whole.cells(record) + [value(record) for value in self._extra.values()]

    def changes(self, record: R) -> list[Cell]:
        """What `update` binds."""
        cells = self._changing.cells(record)
        extra = [value(record) for value in self._extra.values()]
        return cells[: self._changing_count] + extra + cells[self._changing_count :]

    def record(self, row: Row) -> R:
        """The record of a row of `columns`; raises ForeignRow."""
        values: list[Any] = list(row)
        try:
            for at, decode in self._decoders:
                values[at] = decode(values[at])
        except (ValueError, TypeError, OverflowError) as error:
            raise ForeignRow(f"a row of {self.name} has {self.names[at]} {values[at]!r}: {error}") from error
        return self._record(*values)


class _Projection:
    """Some columns of a record as cells."""

    def __init__(self, names: Sequence[str], codecs: Mapping[str, _Codec]) -> None:
        self._values = attrgetter(*names)
        self._encoders = [(at, encode) for at, name in enumerate(names) if (encode := codecs[name].encode)]

    def cells(self, record: object) -> list[Cell]:
        values: list[Any] = list(self._values(record))
        for at, encode in self._encoders:
            values[at] = encode(values[at])
        return values


def _quoted(name: str) -> str:
    return f'"{name}"'


def public_state(task: TaskRecord) -> State:
    """The public state of a task, from its phase alone."""
    return PUBLIC[task.phase]


def due(task: TaskRecord) -> int:
    """When a task should be done, as its list is ordered: what is expected, else what is allowed, else never."""
    time = task.expected_finish or task.deadline
    return to_microseconds(time) if time else NEVER


TASKS = Table(
    "tasks",
    TaskRecord,
    ("uid",),
    fixed=(
        *("source", "namespace", "name", "run", "kind", "target", "origin", "spec_digest", "pins", "params"),
        *("created_at", "number", "labels", "annotations", "trigger", "group", "repinned"),
    ),
    extra={"state": lambda task: public_state(task).value, "live": lambda task: int(task.live), "due": due},
)
STEPS = Table("steps", StepRecord, ("uid", "path"))
ATTEMPTS = Table(
    "attempts",
    AttemptRecord,
    ("uid", "path", "number"),
    fixed=("key", "name", "namespace", "driver", "job", "request", "secrets", "epoch", "deadline"),
)
TRIGGERS = Table("triggers", TriggerRecord, ("uid",), fixed=("source", "namespace", "name"))
EVENTS = Table("events", Event, ("sequence",))
PINS = Table("pins", Pin, ("digest",))
SETTLED = "(pinned = 1 OR phase = 'revoked')"
"""Of a tombstone: the run is not to be had again, because it was begun or because somebody revoked it for good."""
TOMBSTONES = Table("tombstones", Tombstone, ("uid",))
DEFINITIONS = Table("definitions", DefinitionRecord, ("source", "path", "index"))
SOURCES = Table("sources", SourceRecord, ("name",))
REVISIONS = Table("revisions", RevisionRecord, ("number",))
