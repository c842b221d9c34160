"""The hash chain over the events of one task: whoever edits or drops one has to rewrite all that follow, and the head."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from state.records import Event
from state.rows import to_json, to_microseconds


def link(previous: str, event: Event) -> str:
    """The hash of `event` (its own `hash` aside) after an event with the hash `previous` ("" for the first), in hex."""
    cause = event.cause
    told = [
        *(previous, event.sequence, event.uid, to_microseconds(event.at), event.subject, event.path, event.attempt),
        *(event.before, event.after, event.reason, event.message),
        *(cause.kind, cause.reference, cause.author, cause.message),
    ]
    return hashlib.sha256(to_json(told).encode()).hexdigest()


def linked(event: Event, sequence: int, previous: str) -> Event:
    """`event` with its place in the history."""
    placed = replace(event, sequence=sequence)
    return replace(placed, hash=link(previous, placed))


def first_break(events: Iterable[Event]) -> Event | None:
    """The first event of one task, oldest first, that does not follow from those before it."""
    previous = ""
    for event in events:
        if event.hash != link(previous, event):
            return event
        previous = event.hash
    return None
