"""The hash chain over the events of one task: whoever edits or drops one has to rewrite all that follow, and the head.

It is computed over the cells of a row, so that checking it needs no more than the rows.
"""

import hashlib
from collections.abc import Iterable

from state.records import Uid
from state.rows import EVENTS, Row, to_json

UID, SEQUENCE, HASH = (EVENTS.names.index(each) for each in ("uid", "sequence", "hash"))


def link(previous: str, row: Row) -> str:
    """The hash of an event's `row` (all but its last cell, the hash) after an event with the hash `previous`, in hex."""
    return hashlib.sha256(f"{previous}{to_json(row[:HASH])}".encode()).hexdigest()


def breaks(rows: Iterable[Row], heads: dict[Uid, str]) -> Iterable[Row]:
    """The rows, of any tasks and in the order of their sequence, that do not follow from those before them.

    `heads` collects the hash of the last event of each task.
    """
    for row in rows:
        uid = Uid(str(row[UID]))
        if row[HASH] != link(heads.get(uid, ""), row):
            yield row
        heads[uid] = str(row[HASH])
