"""Pages of lists: a bounded number of items and an opaque cursor that says where the next ones begin.

A cursor holds the place of the last item in the order of the list, not a count, so that a page stays right while rows
come and go.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from state.phases import State
from state.rows import Cell, Row

T = TypeVar("T")
LIMIT = 500


class BadCursor(ValueError):
    """A cursor that no page of this list gave out."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; `next` is the cursor of the page after it, None at the end."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks: all that match every field given. `workflow` is what a task runs, a job too."""

    namespace: str | None = None
    name: str | None = None
    state: State | None = None
    workflow: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


Clause = tuple[str, tuple[Cell, ...]]
"""A condition in SQL and what it binds."""


def task_clauses(wanted: TaskFilter) -> list[Clause]:
    """The conditions of `wanted` on the table of tasks."""
    given = (
        ("namespace", wanted.namespace),
        ("name", wanted.name),
        ("state", wanted.state),
        ("target", wanted.workflow),
    )
    clauses: list[Clause] = [(f"{column} = ?", (str(value),)) for column, value in given if value is not None]
    labelled = "number IN (SELECT number FROM labels WHERE name = ? AND value = ?)"
    return clauses + [(labelled, (name, value)) for name, value in wanted.labels.items()]


def after(
    columns: Sequence[str], cursor: str | None, kinds: Sequence[type], *, descending: bool = False
) -> list[Clause]:
    """The condition for rows behind `cursor` in the order of `columns`, none without a cursor; raises BadCursor."""
    if cursor is None:
        return []
    place = decode_cursor(cursor, kinds)
    sign = "<" if descending else ">"
    return [(f"({', '.join(columns)}) {sign} ({', '.join('?' * len(place))})", place)]


def where(clauses: Sequence[Clause]) -> Clause:
    """All `clauses` as one WHERE."""
    text = " AND ".join(clause for clause, _ in clauses)
    return (f" WHERE {text}" if text else ""), tuple(cell for _, cells in clauses for cell in cells)


def paged(rows: Sequence[Row], limit: int, record: Callable[[Row], T], place: int) -> Page[T]:
    """A page of up to `limit` of `rows` (one more was asked for); the first `place` cells of a row are its place."""
    items = tuple(record(row[place:]) for row in rows[:limit])
    return Page(items, encode_cursor(rows[limit - 1][:place]) if len(rows) > limit else None)


def encode_cursor(place: Sequence[Cell]) -> str:
    """A place in a list as text that fits a URL."""
    return base64.urlsafe_b64encode(json.dumps(list(place), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The place that `cursor` names, a value of each of `kinds`; raises BadCursor."""
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadCursor("this cursor was not given out here") from error
    if not isinstance(place, list) or [type(each) for each in place] != list(kinds):
        raise BadCursor("this cursor belongs to another list")
    if any(isinstance(each, int) and abs(each) >= 2**63 for each in place):
        raise BadCursor("this cursor was not given out here")
    return tuple(place)
